"""The direction from the text to retain to the text to forget, projected out of a hook point.

Difference of means (Belrose 2023; Marks and Tegmark 2023) and directional ablation (Arditi et al. 2024, "Refusal in
language models is mediated by a single direction"): x' = x − c · r̂ r̂ᵀ x.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager

import torch
from jaxtyping import Float
from torch import Tensor

from saebench.corpus import Contexts
from saebench.errors import UserError
from saebench.lm import LanguageModel
from saebench.lm.edit import Pass
from saebench.lm.tokenizer import special_ids


def difference_of_means(
    lm: LanguageModel, hook_point: str, forget: Iterable[Contexts], retain: Iterable[Contexts]
) -> Float[Tensor, " width"]:
    """The unit vector from the mean activation of retained tokens to that of tokens to forget, special ones left out.

    Raises:
        UserError: no such hook point, a text without tokens, or means that are the same.
    """
    lm.check_hook_points([hook_point])
    difference = _mean(lm, hook_point, forget, "forget") - _mean(lm, hook_point, retain, "retained")
    norm = difference.norm()
    if not norm > 0:
        raise UserError(f"the mean activations of both texts are the same at {hook_point}; choose other texts")
    return (difference / norm).float()


def ablated(
    lm: LanguageModel, hook_point: str, direction: Float[Tensor, " width"], strength: float = 1.0
) -> AbstractContextManager[None]:
    """A context in which activations at a hook point are projected off a direction; special tokens are left alone.

    Args:
        lm: the model; it is left as it was, also after an error.
        hook_point: where.
        direction: of any length but zero.
        strength: 1 takes away what lies along the direction, 2 turns it round, 0 does nothing.

    Raises:
        UserError: no such hook point, or a direction that is zero or of another width.
    """
    norm = direction.norm()
    if not norm > 0:
        raise UserError("the direction to ablate is zero")
    unit = (direction / norm).to(lm.device).float()
    special = torch.tensor(special_ids(lm.tokenizer), device=lm.device)

    def edit(x: Float[Tensor, "b n width"], now: Pass) -> Float[Tensor, "b n width"]:
        if x.shape[-1] != len(unit):
            raise UserError(f"a direction of width {len(unit)} cannot be ablated from {x.shape[-1]} at {hook_point}")
        along = (x.float() @ unit)[..., None] * unit
        return (x.float() - strength * along * ~torch.isin(now.tokens, special)[..., None]).to(x.dtype)

    return lm.edited({hook_point: edit})


def _mean(lm: LanguageModel, hook_point: str, blocks: Iterable[Contexts], which: str) -> Float[Tensor, " width"]:
    total, n = torch.zeros(1, dtype=torch.float64), 0
    for block in blocks:
        x = lm.activations(torch.from_numpy(block.tokens).long(), [hook_point])[hook_point].cpu()
        rows = x[torch.from_numpy(~block.special)]
        total = total + rows.double().sum(0)
        n += len(rows)
    if not n:
        raise UserError(f"the {which} text has no tokens")
    return total / n
