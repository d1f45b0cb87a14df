"""Sums over batches, in float64, from which explained variance and shrinkage follow."""

import torch
from jaxtyping import Float
from torch import Tensor


class Moments:
    """Sums of x, ‖x‖², ‖x − x̂‖², ‖x̂‖² and ⟨x, x̂⟩."""

    def __init__(self, d: int) -> None:
        self.rows = 0
        self.sum = torch.zeros(d, dtype=torch.float64)
        self.square = self.error = self.output = self.inner = 0.0

    def add(self, x: Float[Tensor, "n d"], reconstruction: Float[Tensor, "n d"]) -> None:
        """Take in a batch."""
        x, reconstruction = x.double(), reconstruction.double()
        self.rows += len(x)
        self.sum += x.sum(0)
        self.square += float(x.square().sum())
        self.error += float((x - reconstruction).square().sum())
        self.output += float(reconstruction.square().sum())
        self.inner += float((x * reconstruction).sum())

    @property
    def fvu(self) -> float:
        """E‖x − x̂‖² / (E‖x‖² − ‖E x‖²), the unexplained share of the variance."""
        return self.error / (self.square - float(self.sum.square().sum()) / self.rows)

    @property
    def relative_bias(self) -> float:
        """E‖x̂‖² / E⟨x, x̂⟩: below 1 where reconstructions are too short, 1 where no rescaling would improve them.

        γ of Rajamanoharan et al. 2024 ("Improving Dictionary Learning with Gated Sparse Autoencoders").
        """
        return self.output / self.inner
