"""What each attention head does, by running the model with its output exchanged: the truth that estimates of heads are
judged by.

Decisions: a head's output on the clean prompt is replaced by its own on the patched one (Vig et al. 2020; Wang et al.
2022), so an effect is what the head carries of the difference between the two. An edge is the direct path: the
receiver's layer, and of it the receiver only, sees the sender's patched output in the residual stream, and everything
between them is as on the clean prompt (Goldowsky-Dill et al. 2023). Every effect is a run of the model: nothing is
linearised. Cost: a pass of every batch for each head; for edges one for each sender and later layer, and one for each
edge.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from saebench.circuits.batches import Batch, Metric, logit_difference, total
from saebench.circuits.heads import Edge, Head, all_heads, site_of
from saebench.errors import UserError
from saebench.lm import LanguageModel
from saebench.lm.edit import Change

Positions = Literal["all", "last"]
Progress = Callable[[int], None]
Outputs = Mapping[str, Float[Tensor, "examples context width"]]
"""`hook_z` of every layer on one batch."""


@dataclass(frozen=True)
class Patched:
    """Exact effects.

    Attributes:
        effects: metric of the clean prompt minus that with the head's (or edge's) output patched, mean over examples.
        clean: mean metric on the clean prompts.
        patch: mean metric, of the same answers, on the patched ones.
    """

    effects: dict[Head, float]
    clean: float
    patch: float

    def true(self, share: float = 0.1) -> set[Head]:
        """The heads whose effect, of either sign, exceeds a share of the metric's whole difference."""
        return {head for head, effect in self.effects.items() if abs(effect) > share * abs(self.clean - self.patch)}


@torch.no_grad()
def head_effects(
    lm: LanguageModel,
    batches: Sequence[Batch],
    metric: Metric = logit_difference,
    positions: Positions = "all",
    on_progress: Progress = lambda _: None,
) -> Patched:
    """Exchange the output of every head, one at a time.

    Args:
        lm: the model.
        batches: pairs of prompts.
        metric: what is measured, in its own units.
        positions: where a head's output is exchanged; `last` is the position that answers.
        on_progress: called with the number of passes done, of heads · batches.

    Raises:
        UserError: no examples, or examples without a patched prompt.
    """
    heads, sums = all_heads(lm), defaultdict[Head, float](float)
    clean = patch = 0.0
    for number, batch in enumerate(batches):
        _, patched = _outputs(lm, batch)
        before = _metric(lm, batch, metric)
        clean += before
        patch += _sum(metric, lm.last_logits(_patch(batch)), batch)
        for done, head in enumerate(heads, 1):
            change = exchange(lm, head, patched[head.site], positions)
            sums[head] += before - _metric(lm, batch, metric, {head.site: change})
            on_progress(number * len(heads) + done)
    n = _count(batches)
    return Patched({head: sums[head] / n for head in heads}, clean / n, patch / n)


@torch.no_grad()
def edge_effects(
    lm: LanguageModel,
    batches: Sequence[Batch],
    metric: Metric = logit_difference,
    heads: Sequence[Head] | None = None,
    on_progress: Progress = lambda _: None,
) -> dict[Edge, float]:
    """Exchange what every head adds to the input of every head of a later layer, one pair at a time, at all positions.

    Args:
        lm: the model.
        batches: pairs of prompts.
        metric: what is measured, in its own units.
        heads: between which; all of the model's, by default.
        on_progress: called with the number of edges done, of edges · batches.

    Returns:
        (sender, receiver) → metric of the clean prompt minus that with the path patched, mean over examples.

    Raises:
        UserError: no examples, or examples without a patched prompt.
    """
    heads = all_heads(lm) if heads is None else heads
    receivers = defaultdict[int, list[Head]](list)
    for head in heads:
        receivers[head.layer].append(head)
    sums, done = defaultdict[Edge, float](float), 0
    for batch in batches:
        clean, patched = _outputs(lm, batch)
        before = _metric(lm, batch, metric)
        for sender in heads:
            written = _written(lm, sender, patched[sender.site] - clean[sender.site])
            for layer in (layer for layer in receivers if layer > sender.layer):
                received = _with_input(lm, batch, layer, written)
                for receiver in receivers[layer]:
                    change = exchange(lm, receiver, received)
                    sums[sender, receiver] += before - _metric(lm, batch, metric, {receiver.site: change})
                    done += 1
                    on_progress(done)
    n = _count(batches)
    return {edge: effect / n for edge, effect in sums.items()}


def exchange(
    lm: LanguageModel, head: Head, other: Float[Tensor, "examples context width"], positions: Positions = "all"
) -> Change:
    """A change of a `hook_z` that puts one head's part of `other` in, and leaves the other heads."""
    own = _columns(lm, head)
    first = 0 if positions == "all" else -1

    def change(z: Float[Tensor, "examples context width"]) -> Float[Tensor, "examples context width"]:
        changed = z.clone()
        changed[:, first:, own] = other[:, first:, own].to(z.dtype)
        return changed

    return change


def _columns(lm: LanguageModel, head: Head) -> slice:
    width = lm.bridge.cfg.d_head
    return slice(head.head * width, (head.head + 1) * width)


def _written(
    lm: LanguageModel, head: Head, z: Float[Tensor, "examples context width"]
) -> Float[Tensor, "examples context d_model"]:
    """What a head adds to the residual stream for its part of a `hook_z`; the projection's bias is no head's."""
    return z[..., _columns(lm, head)].float() @ lm.bridge.W_O[head.layer][head.head].float()


def _with_input(
    lm: LanguageModel, batch: Batch, layer: int, added: Float[Tensor, "examples context d_model"]
) -> Float[Tensor, "examples context width"]:
    """A layer's `hook_z` on the clean prompts, with something added to what the layer reads."""
    with lm.edited({f"blocks.{layer}.hook_resid_pre": lambda x, _tokens: x + added.to(x.dtype)}):
        return lm.activations(batch.clean, [site_of(layer)])[site_of(layer)]


def _outputs(lm: LanguageModel, batch: Batch) -> tuple[Outputs, Outputs]:
    """Every layer's heads on the clean and on the patched prompts."""
    sites = [site_of(layer) for layer in range(lm.n_layers)]
    return lm.activations(batch.clean, sites), lm.activations(_patch(batch), sites)


def _patch(batch: Batch) -> Tensor:
    if batch.patch is None:
        raise UserError("heads are patched with a second prompt; this task's examples have none: give each a patch")
    return batch.patch


def _metric(lm: LanguageModel, batch: Batch, metric: Metric, changes: Mapping[str, Change] | None = None) -> float:
    return _sum(metric, lm.last_logits(batch.clean, changes), batch)


def _sum(metric: Metric, logits: Float[Tensor, "examples vocab"], batch: Batch) -> float:
    return float(total(metric(logits, batch)).double().sum())


def _count(batches: Sequence[Batch]) -> int:
    if not batches:
        raise UserError("no examples to patch heads with")
    return sum(map(len, batches))
