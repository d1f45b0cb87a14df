"""The squared error of a reconstruction, without a dense difference kept between forward and backward."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

ROWS = 256
"""Rows whose difference exists at a time in the forward pass."""


def squared_error(prediction: Float[Tensor, "n d"], target: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Σ (prediction − target)², differentiable in the prediction only."""
    return _SquaredError.apply(prediction, target)


class _SquaredError(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, prediction: Tensor, target: Tensor) -> Tensor:
        ctx.save_for_backward(prediction, target)
        parts = zip(prediction.split(ROWS), target.split(ROWS), strict=True)
        return torch.stack([(a - b).square_().sum() for a, b in parts]).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        prediction, target = ctx.saved_tensors
        return (prediction - target).mul_(2 * grad), None
