"""Feature directions: unit vectors, more of them than dimensions, and how much they overlap.

Decisions: superposition is set by the number of directions, the width, and how far random directions are then spread.
Spreading descends Σ cos² over pairs; its gradient needs DᵀD alone, so it costs features × width² and no Gram matrix.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize


def random_directions(n: int, d: int, generator: torch.Generator) -> Float[Tensor, "n d"]:
    """Unit vectors, uniform on the sphere."""
    return normalize(torch.randn(n, d, generator=generator), dim=1)


def spread(directions: Float[Tensor, "n d"], steps: int) -> Float[Tensor, "n d"]:
    """The unit vectors moved apart by `steps` of gradient descent on Σ over pairs of cos²; none changes nothing.

    Orthonormal where n ≤ d, else a tight frame (every direction overlaps the others as little as can be on average).
    """
    # the curvature is at most 4 × the largest eigenvalue of DᵀD: below this rate the sum cannot grow
    for _ in range(steps):
        second_moment = directions.T @ directions
        rate = 0.5 / torch.linalg.matrix_norm(second_moment, ord=2)
        directions = normalize(directions - rate * (directions @ second_moment - directions), dim=1)
    return directions


def overlap(directions: Float[Tensor, "n d"], chunk: int = 1024) -> float:
    """ρ: the mean over directions of the largest |cos| with another (SynthSAEBench's measure of superposition)."""
    unit = normalize(directions, dim=1)
    total = 0.0
    for start in range(0, len(unit), chunk):
        cosines = (unit[start : start + chunk] @ unit.T).abs()
        cosines.diagonal(offset=start).zero_()
        total += float(cosines.amax(1).double().sum())
    return total / len(unit)
