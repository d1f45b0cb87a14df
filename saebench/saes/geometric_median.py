"""The geometric median: the point of least summed distance to a sample (Weiszfeld 1937)."""

import torch
from jaxtyping import Float
from torch import Tensor


@torch.no_grad()
def geometric_median(
    points: Float[Tensor, "n d"], iterations: int = 100, tolerance: float = 1e-6
) -> Float[Tensor, " d"]:
    """The geometric median by Weiszfeld's iteration from the mean, to a relative change of `tolerance`.

    Distances are kept away from zero, so a median on one of the points is approached, not jumped over.
    Raises ValueError for no points.
    """
    if not len(points):
        raise ValueError("geometric_median: no points")
    median = points.mean(0)
    floor = torch.finfo(points.dtype).eps * (points - median).norm(dim=1).mean().clamp_min(1e-30)
    for _ in range(iterations):
        weights = 1 / (points - median).norm(dim=1).clamp_min(floor)
        previous, median = median, weights @ points / weights.sum()
        if (median - previous).norm() <= tolerance * median.norm():
            break
    return median
