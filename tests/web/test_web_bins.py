"""Bins against counting one by one."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from web.figures.bins import counted, counted_pairs, even_edges, log_edges

_POSITIVE = st.lists(st.floats(1e-9, 1e6), min_size=1, max_size=60).map(np.array)
_ANY = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60).map(np.array)


def brute(values: np.ndarray, edges: np.ndarray) -> list[int]:
    return [sum(low <= v < high or v == high == edges[-1] for v in values) for low, high in pairwise(edges)]


@given(_POSITIVE)
def test_log_bins_hold_every_value_once(values: np.ndarray):
    edges, counts = counted(values, log_edges(values))
    assert counts.sum() == len(values)
    assert counts.tolist() == brute(values, edges)
    assert all(float(f"{edge:.3g}") == edge for edge in edges)
    assert len(counts) <= 32


@given(_ANY)
def test_even_bins_hold_every_value_once(values: np.ndarray):
    assume(not 0 < np.abs(values).max() < 1e-200)
    edges, counts = counted(values, even_edges(values))
    assert counts.sum() == len(values)
    assert counts.tolist() == brute(values, edges)
    assert len(counts) <= 42


@given(st.lists(st.tuples(st.floats(1e-6, 1), st.floats(1e-2, 1e3)), min_size=1, max_size=40))
def test_grids_hold_every_pair_once(pairs: list[tuple[float, float]]):
    x, y = np.array(pairs).T
    grid = counted_pairs(x, y)
    assert grid.counts.sum() == len(pairs)
    assert grid.counts.sum(0).tolist() == brute(x, grid.x)
    assert grid.counts.sum(1).tolist() == brute(y, grid.y)


@pytest.mark.parametrize("value", [1.0, 0.0, -3.5, 1e-12])
def test_equal_values_make_one_bar(value: float):
    edges, counts = counted(np.full(7, value), even_edges(np.full(7, value)))
    assert counts.tolist() == [7]
    assert edges[0] < value < edges[1]


def test_a_grid_does_not_grow_with_the_features():
    rng = np.random.default_rng(0)
    few, many = (counted_pairs(10 ** -rng.uniform(0, 5, n), rng.lognormal(1, 1, n)) for n in (500, 50_000))
    assert max(few.counts.shape + many.counts.shape) <= 32
