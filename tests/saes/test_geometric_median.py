"""The geometric median against a brute-force optimiser."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from saebench.saes import geometric_median


@settings(deadline=None, max_examples=25)
@given(st.integers(3, 60), st.integers(1, 6), st.integers(0, 2**31), st.floats(0.1, 1000))
def test_no_point_is_nearer_to_all(n, d, seed, offset):
    g = torch.Generator().manual_seed(seed)
    points = torch.randn(n, d, generator=g, dtype=torch.float64) * torch.rand(n, 1, generator=g).double() * 10 + offset
    ours = geometric_median(points, iterations=2000, tolerance=1e-10)

    def summed_distance(m):
        return np.linalg.norm(points.numpy() - m, axis=1).sum()

    starts = [points.mean(0).numpy(), points.median(0).values.numpy()]
    best = min(minimize(summed_distance, s, method="Nelder-Mead", options={"maxiter": 4000}).fun for s in starts)
    assert summed_distance(ours.numpy()) <= best * (1 + 1e-5)


def test_outliers_do_not_move_it():
    points = torch.zeros(1000, 4) + torch.randn(1000, 4, generator=torch.Generator().manual_seed(0))
    points[:10] = 1e4
    assert geometric_median(points).norm() < 0.2
    assert points.mean(0).norm() > 100


def test_equal_points_and_no_points():
    assert torch.equal(geometric_median(torch.full((5, 3), 2.5)), torch.full((3,), 2.5))
    assert torch.equal(geometric_median(torch.ones(1, 3)), torch.ones(3))
    with pytest.raises(ValueError, match="no points"):
        geometric_median(torch.ones(0, 3))
