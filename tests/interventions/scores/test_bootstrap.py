"""Intervals against what they must cover, and against every resample of a small sample."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saebench.interventions.scores import mean_of, ratio_of

VALUES = st.lists(st.floats(-100, 100), min_size=2, max_size=30)


@settings(deadline=None, max_examples=40)
@given(VALUES, st.integers(0, 3))
def test_an_interval_lies_among_the_cases_and_moves_with_them(values: list[float], seed: int):
    each = np.array(values)
    found = mean_of(each, seed=seed)
    assert found == mean_of(each, seed=seed)
    assert found.value == pytest.approx(each.mean(), abs=1e-9)
    assert found.n == len(values)
    assert found.low is not None
    assert found.high is not None
    assert each.min() - 1e-9 <= found.low <= found.high <= each.max() + 1e-9
    moved = mean_of(each + 1000, seed=seed)
    if np.ptp(each) > 1e-6:
        assert (moved.low, moved.high) == (pytest.approx(found.low + 1000), pytest.approx(found.high + 1000))


def test_the_percentiles_of_every_resample():
    sums, counts = np.array([1.0, 7, 2, 9, 4]), np.array([10.0, 20, 10, 30, 15])
    every = [sums[list(rows)].sum() / counts[list(rows)].sum() for rows in product(range(5), repeat=5)]
    found = ratio_of(sums, counts, level=0.8)
    assert found.value == pytest.approx(23 / 85)
    assert found.low == pytest.approx(np.quantile(every, 0.1), abs=0.01)
    assert found.high == pytest.approx(np.quantile(every, 0.9), abs=0.01)


@pytest.mark.parametrize("method", ["percentile", "BCa"])
def test_intervals_cover_what_they_say(method):
    draw = np.random.default_rng(0)
    covered = 0
    for _ in range(150):
        found = mean_of((draw.random(80) < 0.7).astype(float), method=method)
        covered += found.low <= 0.7 <= found.high
    assert 0.88 <= covered / 150 <= 0.99


def test_pairing_narrows_a_difference():
    draw = np.random.default_rng(0)
    before = draw.normal(0, 10, 200)
    after = before + draw.normal(1, 0.1, 200)
    paired = mean_of(after - before)
    assert paired.high - paired.low < 0.05
    assert paired.low < 1.0 < paired.high + 0.02


def test_texts_are_drawn_whole():
    """Tokens of a text are alike here, so the interval is that of 20 texts, not of 2,000 tokens."""
    draw = np.random.default_rng(0)
    mean = draw.normal(0, 1, 20)
    counts = np.full(20, 100.0)
    found = ratio_of(mean * counts, counts)
    assert found.high - found.low == pytest.approx(2 * 1.96 * mean.std() / np.sqrt(20), rel=0.2)


def test_what_has_no_interval():
    assert mean_of(np.array([3.0])).model_dump() == {"value": 3.0, "low": None, "high": None, "n": 1}
    assert mean_of(np.ones(7)).model_dump() == {"value": 1.0, "low": 1.0, "high": 1.0, "n": 7}
