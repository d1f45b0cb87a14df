"""The geometric median: the point of least summed distance to a sample (Weiszfeld 1937)."""

import torch
from jaxtyping import Float
from torch import Tensor


@torch.no_grad()
def geometric_median(
    points: Float[Tensor, "n d"], iterations: int = 100, tolerance: float = 1e-6
) -> Float[Tensor, " d"]:
    """The geometric median by Weiszfeld's iteration from the mean, to a change of `tolerance` × the mean distance.

    Distances are kept away from zero, so a median on one of the points is approached, not jumped over.
    Raises ValueError for no points.
    """
    if not len(points):
        raise ValueError("geometric_median: no points")
    mean = points.mean(0)
    points = points - mean  # so that the expanded squares below lose nothing
    squares = points.square().sum(1)
    floor = torch.finfo(points.dtype).eps * squares.mean()
    median = torch.zeros_like(mean)
    for _ in range(iterations):
        distances = (squares - 2 * (points @ median) + median @ median).clamp_min(floor).sqrt()
        weights = 1 / distances.clamp_min(torch.finfo(points.dtype).tiny)
        previous, median = median, weights @ points / weights.sum()
        if (median - previous).norm() <= tolerance * distances.mean():
            break
    return mean + median
