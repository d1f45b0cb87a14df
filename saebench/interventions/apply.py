"""Interventions put into a model.

Decisions: interventions on one SAE happen to its codes in the order given, each to what the one before left; SAEs at
one hook point encode the same vector and their changes are added; a later layer sees what an earlier one did. Special
tokens (begin, end) have no codes in an index and are left alone unless asked for. All of it is computed in float32 and
rounded to the model's own precision once, so that no change at all is exactly none.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

from saebench.errors import UserError
from saebench.interventions.gates import Gate
from saebench.interventions.kinds import Intervention
from saebench.interventions.site import Site, conditions_of
from saebench.interventions.where import Condition, as_tuple
from saebench.lm import LanguageModel
from saebench.lm.tokenizer import special_ids
from saebench.saes import SAE


class Hooked(NamedTuple):
    """An SAE and the hook point that it reads; and, where it is known, the sha256 of the model that it was made for."""

    sae: SAE
    hook_point: str
    model: str | None = None


def intervened(
    lm: LanguageModel, interventions: Sequence[Intervention], saes: Mapping[str, Hooked]
) -> AbstractContextManager[None]:
    """A context in which every pass of the model, generation with a cache included, happens under interventions.

    Args:
        lm: the model; it is left as it was, also after an error.
        interventions: what to do, in this order.
        saes: by the names that the interventions use.

    Raises:
        UserError: an unknown SAE or feature, an SAE of another model or that cannot serve; inside, an SAE that does not
            fit its hook point, a condition on what the model computes later, activations or logits that overflow.
    """
    conditions = conditions_of(interventions)
    for intervention in interventions:
        check(intervention, saes)
    for condition in conditions:
        check(condition, saes)
    used = dict.fromkeys([one.sae for one in interventions] + [one.sae or "" for one in conditions])
    for name in used:
        if saes[name].model not in (None, lm.sha256):
            raise UserError(
                f"SAE {name} reads another model than {lm.name} (sha256 {saes[name].model[:12]}, this one's is "  # type: ignore[index]
                f"{lm.sha256[:12]}); open the model that it was trained on"
            )
    gates: dict[Condition, Gate] = {}
    ordinary = _ordinary(lm)
    sites = {}
    for hook_point in dict.fromkeys(saes[name].hook_point for name in used):
        here = {name: saes[name].sae for name in used if saes[name].hook_point == hook_point}
        own = [one for one in interventions if one.sae in here]
        read = [condition for condition in conditions if condition.sae in here]
        sites[hook_point] = Site(hook_point, here, own, read, gates, ordinary)
    return lm.edited(sites)


def check(asked: Intervention | Condition, saes: Mapping[str, Hooked]) -> None:
    """Raise UserError unless the SAE of an intervention or condition is there and has its features."""
    name = asked.sae or ""
    if name not in saes:
        raise UserError(f"no SAE {name!r} to intervene with; there are: {', '.join(saes) or 'none'}")
    n = saes[name].sae.n_latents
    for feature in as_tuple(asked.feature) if asked.feature is not None else ():
        if feature >= n:
            raise UserError(f"SAE {name} has no feature {feature}; it has 0 to {n - 1}")


def _ordinary(lm: LanguageModel) -> Bool[Tensor, " vocab"]:
    """Of every token id, whether it stands for text."""
    special = special_ids(lm.tokenizer)
    ordinary = torch.ones(max(lm.d_vocab, *(token + 1 for token in special)), dtype=torch.bool, device=lm.device)
    ordinary[special] = False
    return ordinary
