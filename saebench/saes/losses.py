"""Losses of an SAE as free functions, and `Loss`: a total beside its named parts."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from saebench.kernels import SparseCodes


@dataclass(frozen=True)
class Loss:
    """What `SAE.loss` returns: the scalar to minimise and all that was computed on the way."""

    total: Float[Tensor, ""]
    parts: dict[str, Tensor]
    """Named terms as they enter the total: `fvu`, then those of the rule (`auxk`, …)."""
    codes: SparseCodes
    reconstruction: Float[Tensor, "tokens d_in"]

    @property
    def fvu(self) -> Float[Tensor, ""]:
        """Fraction of variance unexplained on this batch."""
        return self.parts["fvu"]

    @property
    def l0(self) -> float:
        """Mean number of active latents per token."""
        return self.codes.l0


def variance(x: Float[Tensor, "tokens d_in"]) -> Float[Tensor, ""]:
    """Summed squared distance from the batch mean."""
    return (x - x.mean(0)).square().sum() if len(x) else x.new_zeros(())


def fvu(prediction: Float[Tensor, "tokens d_in"], x: Float[Tensor, "tokens d_in"]) -> Float[Tensor, ""]:
    """Fraction of variance unexplained: Σ‖x − prediction‖² / Σ‖x − mean x‖² (Gao et al. 2024, normalised per batch).

    For a batch without variance (one token, or none) the numerator itself.
    """
    total = variance(x.detach())
    return (prediction - x).square().sum() / torch.where(total > 0, total, torch.ones_like(total))
