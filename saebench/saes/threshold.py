"""Serving a rule that selects over a batch: a threshold estimated in training stands for the batch.

Decisions: an exponential average over steps of the smallest selected value. Over a batch that value hardly varies, so
the average is short and follows the weights; one latent's varies, so it is longer. NaN until the first step, and
serving without a threshold is an error, never a guess.
"""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from saebench.kernels import Above, SparseCodes
from saebench.saes.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from saebench.saes.sae import SAE

BATCH_RATE = 0.05
LATENT_RATE = 0.01


def average(old: Tensor, new: Tensor, rate: float) -> Tensor:
    """Exponential average; the new value itself where there is no old one (NaN)."""
    return torch.where(old.isnan(), new, old.lerp(new.to(old.dtype), rate))


@torch.no_grad()
def track(threshold: Float[Tensor, ""], codes: SparseCodes, ranks: Ranks = ALONE) -> None:
    """Move a threshold towards the smallest value of a batch's codes, in place; empty codes change nothing."""
    smallest = codes.values.min() if len(codes.values) else codes.values.new_tensor(torch.inf)
    smallest = ranks.everyone.min(smallest)
    if smallest.isfinite():
        threshold.copy_(average(threshold, smallest, BATCH_RATE))


def above(sae: "SAE", threshold: Float[Tensor, "..."]) -> Above:
    """Selects the latents above a threshold, at least zero. Raises ValueError for one that was never estimated."""
    if bool(threshold.isnan().any()):
        raise ValueError(
            f"this {sae.rule.name} SAE has no inference threshold yet: train it, or call sae.train() to select over "
            "the batch as in training"
        )
    return Above(threshold.clamp_min(0).expand(sae.n_latents))


def expected_cut(threshold: Float[Tensor, ""]) -> float | None:
    """The threshold as a hint for the selection of the next batch; None before the first."""
    value = threshold.item()
    return value if value == value else None
