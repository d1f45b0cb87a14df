"""What a probe reads, with features ablated on the way.

An ablated feature has activation zero at every token of the text; what the SAE leaves over (the error) and all other
features stay. Sites further on see the changed activations and are taken apart anew (Marks et al. 2024).
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.circuits.decomposition import Dictionary, written
from saebench.circuits.shift.texts import Texts
from saebench.circuits.states import Sites
from saebench.errors import UserError
from saebench.lm import LanguageModel
from saebench.lm.edit import Change
from saebench.lm.plain import LastHookError

Chosen = Mapping[str, Int[Tensor, " features"]]
"""Hook point → features of its SAE."""


def at_probe(
    lm: LanguageModel, texts: Texts, hook_point: str, changes: Mapping[str, Change]
) -> Float[Tensor, "examples width"]:
    """The mean over a text's tokens of what a hook point holds, in a pass that `changes` change; differentiable."""
    found: list[Tensor] = []
    own = changes.get(hook_point)

    def capture(value: Tensor) -> Tensor:
        changed = value if own is None else own(value)
        found.append(changed.float())
        raise LastHookError  # nothing behind it is needed

    with suppress(LastHookError):
        lm.last_logits(texts.tokens, {**changes, hook_point: capture})
    weights = texts.counted / texts.counted.sum(1, keepdim=True).clamp_min(1)
    return torch.einsum("ec,ecw->ew", weights, found[0])


def without(site: Dictionary, latents: Int[Tensor, " features"], texts: Texts) -> Change:
    """A change of a site's activations: some features at zero, the rest as it is."""

    def change(value: Float[Tensor, "examples context width"]) -> Float[Tensor, "examples context width"]:
        x = value.flatten(0, 1).float()
        codes = site.split(x, texts.tokens.flatten()).codes
        gone = torch.isin(codes.latents.long(), latents) & texts.counted.flatten()[codes.tokens.long()]
        return (x - written(codes.where(gone), site.directions)).view_as(value)

    return change


@torch.no_grad()
def pooled(
    lm: LanguageModel,
    batches: Sequence[Texts],
    hook_point: str,
    sites: Sites = (),
    chosen: Chosen | None = None,
    done: Callable[[int], None] = lambda _: None,
) -> Float[Tensor, "examples width"]:
    """What a probe reads of all texts, in the order of the data, without the chosen features of the sites.

    Raises:
        UserError: activations that are not finite.
    """
    chosen = chosen or {}
    out: list[Tensor] = []
    for number, texts in enumerate(batches):
        changes = {s.hook_point: without(s, chosen[s.hook_point], texts) for s in sites if s.hook_point in chosen}
        out.append(at_probe(lm, texts, hook_point, changes))
        done(number + 1)
    rows = torch.cat([texts.rows for texts in batches])
    found = torch.empty(len(rows), out[0].shape[1]).index_copy(0, rows, torch.cat(out))
    if not bool(found.isfinite().all()):
        raise UserError(f"activations at {hook_point} are not finite; look at the model's and the SAEs' weights")
    return found
