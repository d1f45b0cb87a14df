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
from saebench.interventions.gates import Asked, Gate, asked_of
from saebench.interventions.kinds import Intervention
from saebench.interventions.site import Site
from saebench.lm import LanguageModel
from saebench.lm.tokenizer import special_ids
from saebench.saes import SAE
from saebench.training.trained import Trained


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
    check(interventions, saes)
    conditions = asked_of(interventions)
    used = dict.fromkeys([one.sae for one in interventions] + [asked.sae for asked in conditions])
    for name in used:
        theirs = saes[name].model
        if theirs not in (None, lm.sha256):
            raise UserError(
                f"SAE {name} reads another model than {lm.name} (sha256 {str(theirs)[:12]}, this one's is "
                f"{lm.sha256[:12]}); open the model that it was trained on"
            )
    gates: dict[Asked, Gate] = {}
    ordinary = _ordinary(lm)
    sites = {}
    for hook_point in dict.fromkeys(saes[name].hook_point for name in used):
        here = {name: saes[name].sae for name in used if saes[name].hook_point == hook_point}
        own = [one for one in interventions if one.sae in here]
        read = [asked for asked in conditions if asked.sae in here]
        sites[hook_point] = Site(hook_point, here, own, read, gates, ordinary)
    return lm.edited(sites)


def check(interventions: Sequence[Intervention], saes: Mapping[str, Hooked | Trained]) -> None:
    """Raise UserError unless the SAEs of interventions and of their conditions are there and have their features."""
    asked = [(one.sae, one.features) for one in interventions]
    asked += [(one.sae, one.features) for one in asked_of(interventions)]
    for name, features in asked:
        if name not in saes:
            raise UserError(f"no SAE {name!r} to intervene with; there are: {', '.join(saes) or 'none'}")
        n = saes[name].sae.n_latents
        for feature in features:
            if feature >= n:
                raise UserError(f"SAE {name} has no feature {feature}; it has 0 to {n - 1}")


def _ordinary(lm: LanguageModel) -> Bool[Tensor, " vocab"]:
    """Of every token id, whether it stands for text."""
    special = special_ids(lm.tokenizer)
    ordinary = torch.ones(max(lm.d_vocab, *(token + 1 for token in special)), dtype=torch.bool, device=lm.device)
    ordinary[special] = False
    return ordinary
