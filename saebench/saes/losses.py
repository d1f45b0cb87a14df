"""Losses of an SAE as free functions, and `Loss`: a total beside its named parts.

Decisions: every term is a mean over tokens and free of units (errors over the variance, magnitudes over its root), so
that coefficients mean the same for every model and micro-batches average.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from saebench.kernels import SparseCodes, squared_error


@dataclass(frozen=True)
class Loss:
    """What `SAE.loss` returns: the scalar to minimise and all that was computed on the way."""

    parts: dict[str, Float[Tensor, ""]]
    """Named terms as they enter the total: the reconstruction's first, then the rule's own."""
    fvu: Float[Tensor, ""]
    """Fraction of variance unexplained on this batch."""
    codes: SparseCodes
    """The entries above zero, cut from the graph."""
    reconstruction: Float[Tensor, "tokens d_in"]

    @cached_property
    def total(self) -> Float[Tensor, ""]:
        """The sum of the parts."""
        return torch.stack(list(self.parts.values())).sum()

    @property
    def l0(self) -> float:
        """Mean number of active latents per token."""
        return self.codes.l0


def variance(x: Float[Tensor, "tokens d_in"]) -> Float[Tensor, ""]:
    """Mean squared distance from the batch mean, per token; 0 for no tokens."""
    return x.var(0, correction=0).sum() if len(x) else x.new_zeros(())


def fvu(
    prediction: Float[Tensor, "tokens d_in"], x: Float[Tensor, "tokens d_in"], variance: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """Fraction of variance unexplained: mean ‖x − prediction‖² / variance (Gao et al. 2024, normalised per batch).

    Without variance (one token, or none) the numerator itself.
    """
    return squared_error(prediction, x) / max(len(x), 1) / or_one(variance)


def l1(codes: SparseCodes, variance: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """Mean over tokens of Σ values, in units of the root of the variance. Decoder rows have unit norm."""
    return codes.values.sum() / max(len(codes), 1) / or_one(variance).sqrt()


def or_one(divisor: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """A divisor, or 1 where it is zero."""
    return torch.where(divisor > 0, divisor, torch.ones_like(divisor))
