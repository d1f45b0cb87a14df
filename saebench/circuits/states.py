"""What a batch of examples does at every site: clean activations, what patching would take away, the gradients.

Decisions: a site's state is flat over tokens (examples × positions). Patching is described by what goes when the clean
value is replaced, as entries: the clean codes with their sign and the patched ones with the opposite, so that codes of
the two runs are never made dense. Effects are what the clean value adds over the patched one: Δ · gradient.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.circuits.batches import Batch, Metric, total
from saebench.circuits.decomposition import Dictionary, Parts, written
from saebench.errors import UserError
from saebench.kernels import SparseCodes
from saebench.kernels.codes import from_entries
from saebench.lm import LanguageModel

Sites = Sequence[Dictionary]
"""In the order in which the model computes them."""
Reference = Literal["pairs", "zero", "mean"]
IG_STEPS = 10


@dataclass(frozen=True)
class Patch:
    """What patching takes away at one site: clean − patched, token by token."""

    codes: SparseCodes
    error: Float[Tensor, "tokens width"]


@dataclass(frozen=True)
class Means:
    """Mean codes and error of a site, over all tokens, or at every position by itself."""

    codes: Float[Tensor, "positions nodes"]
    error: Float[Tensor, "positions width"]


@torch.no_grad()
def activations(
    lm: LanguageModel, tokens: Int[Tensor, "examples context"], sites: Sites
) -> dict[str, Float[Tensor, "tokens width"]]:
    """What the sites hold, in float32, flat over tokens."""
    found = lm.activations(tokens, [site.hook_point for site in sites])
    return {name: value.flatten(0, 1).float() for name, value in found.items()}


def minus(clean: SparseCodes, patched: SparseCodes) -> SparseCodes:
    """Entries of both, those of the second with the opposite sign; a latent active in both has two."""
    return from_entries(
        torch.cat([clean.values, -patched.values]),
        torch.cat([clean.tokens, patched.tokens]).long(),
        torch.cat([clean.latents, patched.latents]),
        (len(clean), clean.n_latents),
    )


def repeated(means: Means, n_examples: int, context: int) -> Parts:
    """The means as if every token had them."""
    rows = means.codes if len(means.codes) > 1 else means.codes.expand(context, -1)
    error = means.error if len(means.error) > 1 else means.error.expand(context, -1)
    rows = rows[:context].repeat(n_examples, 1)
    tokens, latents = rows.nonzero(as_tuple=True)
    codes = from_entries(rows[tokens, latents], tokens, latents, (len(rows), rows.shape[1]))
    return Parts(codes, error[:context].repeat(n_examples, 1))


def patch_of(
    site: Dictionary, clean: Parts, batch: Batch, patched: Tensor | None, means: Means | None, reference: Reference
) -> Patch:
    """What patching takes away, by one of the three references: the patched prompt, nothing at all, or means."""
    if reference == "pairs":
        assert patched is not None
        assert batch.patch is not None
        other = site.split(patched, batch.patch.flatten())
    elif reference == "zero":
        empty = torch.zeros(len(clean.codes) + 1, dtype=torch.int64)
        none = SparseCodes(clean.codes.values[:0], clean.codes.latents[:0], empty, clean.codes.n_latents)
        other = Parts(none, torch.zeros_like(clean.error))
    else:
        assert means is not None
        other = repeated(means, len(batch), batch.clean.shape[1])
    return Patch(minus(clean.codes, other.codes), clean.error - other.error)


def taken(site: Dictionary, patch: Patch) -> Float[Tensor, "tokens width"]:
    """Clean minus patched activation: all nodes' changes together."""
    return written(patch.codes, site.directions) + patch.error


def gradients_at_clean(
    lm: LanguageModel, batch: Batch, sites: Sites, metric: Metric
) -> tuple[dict[str, Float[Tensor, "tokens width"]], dict[str, float]]:
    """∂metric/∂x at every site of one clean pass, through everything downstream; and the metric's terms, summed.

    Raises:
        UserError: a metric that depends on none of the sites, or is not finite.
    """
    added: dict[str, Tensor] = {}

    def watch(name: str) -> Callable[[Tensor], Tensor]:
        def change(value: Tensor) -> Tensor:
            added[name] = torch.zeros_like(value, dtype=torch.float32, requires_grad=True)
            return value + added[name]

        return change

    with torch.enable_grad():
        terms = metric(lm.last_logits(batch.clean, {site.hook_point: watch(site.hook_point) for site in sites}), batch)
        value = total(terms).sum()
        found = backward(value, [added[site.hook_point] for site in sites])
    sums = {name: float(term.detach().sum()) for name, term in terms.items()}
    return {site.hook_point: grad.flatten(0, 1) for site, grad in zip(sites, found, strict=True)}, sums


def gradients_along(
    lm: LanguageModel, batch: Batch, site: Dictionary, clean: Tensor, gone: Tensor, metric: Metric
) -> Float[Tensor, "tokens width"]:
    """Mean of ∂metric/∂x at one site over 10 steps from its clean to its patched value (integrated gradients).

    α = 0, .1 … .9 as Marks et al.; every site by itself, all that is upstream clean.
    """
    n, context = batch.clean.shape
    alphas = torch.arange(IG_STEPS).repeat_interleave(n * context)[:, None] / IG_STEPS
    x = (clean.repeat(IG_STEPS, 1) - alphas * gone.repeat(IG_STEPS, 1)).view(IG_STEPS * n, context, -1)
    x.requires_grad_()
    steps = repeat(batch, IG_STEPS)
    with torch.enable_grad():
        value = total(metric(lm.last_logits(steps.clean, {site.hook_point: lambda _: x}), steps)).sum()
        (found,) = backward(value, [x])
    return found.view(IG_STEPS, n * context, -1).mean(0)


def repeat(batch: Batch, times: int) -> Batch:
    """The examples so many times over."""

    def of(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor.repeat(times, *[1] * (tensor.ndim - 1))

    clean, answer = batch.clean.repeat(times, 1), batch.answer.repeat(times)
    return Batch(clean, of(batch.patch), answer, of(batch.wrong), batch.rows * times)


def backward(value: Tensor, inputs: Sequence[Tensor], retain: bool = False) -> list[Tensor]:
    """Gradients of a number; zeros where it does not depend on an input.

    Raises:
        UserError: it depends on none, or is not finite.
    """
    if not bool(value.isfinite()):
        raise UserError("the metric is not finite on some examples; look at the function that computes it")
    if not value.requires_grad:
        raise UserError("the metric does not depend on any site; let it be a differentiable function of the logits")
    found = torch.autograd.grad(value, inputs, allow_unused=True, retain_graph=retain)
    if all(each is None for each in found):
        raise UserError("the metric does not depend on any site; let it be a differentiable function of the logits")
    return [torch.zeros_like(x) if grad is None else grad.float() for x, grad in zip(inputs, found, strict=True)]


class MeanSums:
    """Sums from which the means of a site are made."""

    def __init__(self, site: Dictionary, positions: int) -> None:
        self.codes = torch.zeros(positions, site.directions.shape[0], dtype=torch.float64)
        self.error = torch.zeros(positions, site.directions.shape[1], dtype=torch.float64)
        self.count = 0

    def add(self, parts: Parts, context: int) -> None:
        """Add a batch's tokens; with one row for all positions, every token goes there."""
        at = torch.arange(len(parts.codes)) % context if len(self.codes) > 1 else torch.zeros(len(parts.codes)).long()
        where = at[parts.codes.tokens.long()] * self.codes.shape[1] + parts.codes.latents.long()
        self.codes.view(-1).index_add_(0, where, parts.codes.values.double())
        self.error.index_add_(0, at, parts.error.double())
        self.count += len(parts.codes) // (context if len(self.codes) > 1 else 1)

    def means(self) -> Means:
        """The means."""
        return Means((self.codes / max(self.count, 1)).float(), (self.error / max(self.count, 1)).float())


def means_of(lm: LanguageModel, groups: Sequence[Batch], sites: Sites, positions: int = 1) -> dict[str, Means]:
    """Means of every site over the patched prompts, or the clean ones of an unpaired task; `positions` > 1: of each."""
    sums: Mapping[str, MeanSums] = {site.hook_point: MeanSums(site, positions) for site in sites}
    for batch in groups:
        tokens = batch.clean if batch.patch is None else batch.patch
        found = activations(lm, tokens, sites)
        for site in sites:
            sums[site.hook_point].add(site.split(found[site.hook_point], tokens.flatten()), tokens.shape[1])
    return {name: own.means() for name, own in sums.items()}
