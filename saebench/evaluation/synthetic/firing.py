"""Which features fire: Zipf probabilities, and a Gaussian copula of low rank that correlates them.

A feature fires where a standard normal is above the quantile of its probability; the normals share `rank` factors, so
marginal probabilities are exact and pairs are correlated by the product of their loadings.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

SMALLEST_OWN_VARIANCE = 0.01


def zipf_probabilities(n: int, exponent: float, largest: float, smallest: float) -> Float[Tensor, " n"]:
    """rank^−exponent, shifted and scaled to run from `largest` to `smallest` (SynthSAEBench's definition)."""
    law = torch.arange(1, n + 1, dtype=torch.float64) ** -exponent
    share = (law - law[-1]) / (law[0] - law[-1]) if n > 1 else torch.ones_like(law)
    return (smallest + (largest - smallest) * share).float()


@dataclass(frozen=True, eq=False)
class Copula:
    """Standard normals z = loadings u + √own ε with u, ε standard normal, and a threshold for each."""

    loadings: Float[Tensor, "n rank"]
    own: Float[Tensor, " n"]
    thresholds: Float[Tensor, " n"]

    def sample(self, rows: int, generator: torch.Generator) -> Bool[Tensor, "rows n"]:
        """Which features fire, in each of `rows` draws."""
        n, rank = self.loadings.shape
        normals = torch.randn(rows, n, generator=generator).mul_(self.own.sqrt())
        normals.addmm_(torch.randn(rows, rank, generator=generator), self.loadings.T)
        return normals > self.thresholds


def random_copula(probabilities: Float[Tensor, " n"], rank: int, scale: float, generator: torch.Generator) -> Copula:
    """Normal loadings of standard deviation `scale`, shrunk together where one would leave too little variance."""
    loadings = scale * torch.randn(len(probabilities), rank, generator=generator)
    shared = loadings.square().sum(1)
    largest = float(shared.max()) if rank else 0.0
    if largest > 1 - SMALLEST_OWN_VARIANCE:
        shrink = (1 - SMALLEST_OWN_VARIANCE) / largest
        loadings, shared = loadings * shrink**0.5, shared * shrink
    return Copula(loadings, 1 - shared, torch.special.ndtri(1 - probabilities.double()).float())
