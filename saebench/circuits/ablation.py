"""How well a circuit stands for the model: everything outside it is held at its mean.

    faithfulness(C) = (F(C) − F(none)) / (F(all) − F(none)),    completeness(C) = faithfulness(everything but C)

F is the mean of the metric on examples that the circuit was not found on, means are those of patched prompts (Marks et
al. 2024). Input tokens are given, never ablated.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from saebench.circuits.batches import Batch, Metric, total
from saebench.circuits.decomposition import Dictionary, written
from saebench.circuits.states import Means, Sites
from saebench.errors import UserError
from saebench.lm import LanguageModel

Kept = Mapping[str, Bool[Tensor, "positions nodes+1"]]
"""Site → which nodes are in the circuit, the error last; one row for all positions, or one for each."""


@torch.no_grad()
def mean_metric(
    lm: LanguageModel,
    groups: Sequence[Batch],
    metric: Metric,
    changes: Callable[[Batch], Mapping[str, Callable[[Tensor], Tensor]]],
) -> float:
    """F: the mean of the metric over examples, in passes that `changes` change.

    Raises:
        UserError: a metric that is not finite.
    """
    values = [total(metric(lm.last_logits(batch.clean, changes(batch)), batch)).double() for batch in groups]
    found = float(torch.cat(values).mean())
    if found != found or abs(found) == float("inf"):
        raise UserError("the metric is not finite under ablation; look at the function that computes it")
    return found


def ablated(
    lm: LanguageModel, groups: Sequence[Batch], sites: Sites, means: Mapping[str, Means], kept: Kept, metric: Metric
) -> float:
    """F of a circuit: nodes that are not kept have their means, those that are, what the run gives them."""
    fixed = {site.hook_point: _fixed(site, means[site.hook_point], kept[site.hook_point]) for site in sites}

    def changes(batch: Batch) -> dict[str, Callable[[Tensor], Tensor]]:
        return {site.hook_point: _change(site, batch, kept[site.hook_point], fixed[site.hook_point]) for site in sites}

    return mean_metric(lm, groups, metric, changes)


@dataclass(frozen=True)
class Judge:
    """Judges circuits of one family of nodes on the same examples."""

    lm: LanguageModel
    groups: Sequence[Batch]
    sites: Sites
    means: Mapping[str, Means]
    metric: Metric
    all: float
    none: float

    @staticmethod
    def of(
        lm: LanguageModel, groups: Sequence[Batch], sites: Sites, means: Mapping[str, Means], metric: Metric
    ) -> "Judge":
        """Measure F of the whole model and of the empty circuit.

        Raises:
            UserError: they do not differ, so that nothing can be judged.
        """
        whole = mean_metric(lm, groups, metric, lambda _: {})
        none = ablated(lm, groups, sites, means, nothing(sites, means), metric)
        if abs(whole - none) < 1e-9:
            raise UserError("ablating every node does not change the metric; the sites do not carry the task")
        return Judge(lm, groups, sites, means, metric, whole, none)

    def faithfulness(self, kept: Kept) -> float:
        """(F(C) − F(none)) / (F(all) − F(none))."""
        found = ablated(self.lm, self.groups, self.sites, self.means, kept, self.metric)
        return (found - self.none) / (self.all - self.none)


def nothing(sites: Sites, means: Mapping[str, Means]) -> dict[str, Tensor]:
    """The empty circuit."""
    return {s.hook_point: torch.zeros(len(means[s.hook_point].codes), s.n_nodes + 1, dtype=torch.bool) for s in sites}


def complement(kept: Kept) -> dict[str, Tensor]:
    """Everything but a circuit."""
    return {name: ~own for name, own in kept.items()}


def _fixed(site: Dictionary, means: Means, kept: Bool[Tensor, "positions nodes+1"]) -> Float[Tensor, "positions width"]:
    """What the ablated nodes write at their means."""
    latents = torch.arange(site.directions.shape[0])
    out = (means.codes * ~kept[:, site.nodes(latents)]) @ site.directions
    return out + means.error * ~kept[:, -1:]


def _change(
    site: Dictionary, batch: Batch, kept: Bool[Tensor, "positions nodes+1"], fixed: Float[Tensor, "positions width"]
) -> Callable[[Tensor], Tensor]:
    def change(value: Float[Tensor, "examples context width"]) -> Float[Tensor, "examples context width"]:
        n, context, width = value.shape
        x = value.flatten(0, 1).float()
        parts = site.split(x, batch.clean.flatten())
        rows = torch.arange(n * context) % context if len(kept) > 1 else torch.zeros(n * context, dtype=torch.long)
        out = ~kept[rows[parts.codes.tokens.long()], site.nodes(parts.codes.latents.long())]
        gone = written(parts.codes.where(out), site.directions) + parts.error * ~kept[rows, -1:]
        return (x - gone + fixed[rows]).view(n, context, width)

    return change
