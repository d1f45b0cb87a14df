"""Interventions put into a model.

Decisions: interventions on one SAE happen to its codes in the order given, each to what the one before left; SAEs at
one hook point read the same vector and their changes are added; a later layer sees what an earlier one did. Special
tokens (begin, end) have no codes in an index and are left alone. All of it is computed in float32 and rounded to the
model's own precision once, so that no change at all is exactly none.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.errors import UserError
from saebench.interventions.kinds import Intervention
from saebench.interventions.needed import activations_of
from saebench.lm import LanguageModel
from saebench.lm.edit import Edit
from saebench.saes import SAE
from saebench.saes.layer_norm import deviation

Written = Callable[[Float[Tensor, "rows width"]], Float[Tensor, "rows width"]]
"""Rows of activations → what is added to them."""


class Hooked(NamedTuple):
    """An SAE and the hook point that it reads."""

    sae: SAE
    hook_point: str


def intervened(
    lm: LanguageModel, interventions: Sequence[Intervention], saes: Mapping[str, Hooked]
) -> AbstractContextManager[None]:
    """A context in which every pass of the model, generation with a cache included, happens under interventions.

    Args:
        lm: the model; it is left as it was, also after an error.
        interventions: what to do, in this order.
        saes: by the names that the interventions use.

    Raises:
        UserError: an unknown SAE or feature, an SAE that does not fit the model; inside, activations that overflow.
    """
    by_sae: dict[str, list[Intervention]] = defaultdict(list)
    for intervention in interventions:
        check(intervention, saes)
        by_sae[intervention.sae].append(intervention)
    edits: dict[str, list[Written]] = defaultdict(list)
    for name, own in by_sae.items():
        edits[saes[name].hook_point].append(_change(saes[name].sae, own))
    special = torch.tensor(sorted(lm.tokenizer.all_special_ids), device=lm.device)
    return lm.edited({hook_point: _edit(hook_point, changes, special) for hook_point, changes in edits.items()})


def check(intervention: Intervention, saes: Mapping[str, Hooked]) -> None:
    """Raise UserError unless the intervention's SAE is there and has its feature."""
    if intervention.sae not in saes:
        raise UserError(f"no SAE {intervention.sae!r} to intervene with; there are: {', '.join(saes) or 'none'}")
    n = saes[intervention.sae].sae.n_latents
    if intervention.feature >= n:
        raise UserError(f"SAE {intervention.sae} has no feature {intervention.feature}; it has 0 to {n - 1}")


def _edit(hook_point: str, changes: Sequence[Written], special: Int[Tensor, " special"]) -> Edit:
    """The sum of the changes of all SAEs at a hook point."""

    def edit(x: Float[Tensor, "b n width"], tokens: Int[Tensor, "b n"]) -> Float[Tensor, "b n width"]:
        if not bool(x.isfinite().all()):
            raise UserError(f"activations at {hook_point} overflow under these interventions; use smaller strengths")
        ordinary = ~torch.isin(tokens, special)
        rows = x[ordinary].float()
        changed = x.float().clone()
        changed[ordinary] = rows + sum(change(rows) for change in changes)
        return changed.to(x.dtype)

    return edit


def _change(sae: SAE, interventions: Sequence[Intervention]) -> Written:
    """(f' − f) W_dec of one SAE for rows of activations; of layer-normed ones in each row's own scale."""
    features = torch.tensor(sorted({i.feature for i in interventions}), device=sae.W_dec.device)
    column = {int(feature): i for i, feature in enumerate(features)}
    reads = any(intervention.reads for intervention in interventions)
    encode = activations_of(sae, features) if reads else lambda x: x.new_zeros(len(x), len(features))

    def change(x: Float[Tensor, "rows width"]) -> Float[Tensor, "rows width"]:
        if x.shape[1] != sae.d_in:
            raise UserError(f"an SAE of width {sae.d_in} cannot change activations of width {x.shape[1]}")
        before = encode(x)
        after = before.clone()
        for intervention in interventions:
            at = column[intervention.feature]
            after[:, at] = intervention.becomes(after[:, at])
        written = (after - before) @ sae.W_dec[features].float()
        return written * deviation(x) if sae.normalise == "layer_norm" else written

    return change
