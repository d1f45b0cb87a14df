"""The map of decoder rows: exact neighbours, the same picture each time, groups that stay together."""

import numpy as np
import pytest

from saebench.errors import UserError
from saebench.indexing.config import MapConfig
from saebench.indexing.map import level, map_of, nearest_first

QUICK = MapConfig(epochs=50)


def rows(groups: int, each: int, width: int, spread: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = np.eye(width)[:groups].repeat(each, 0)
    noisy = centres + spread * rng.normal(size=centres.shape)
    return (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32)


def test_neighbours_are_the_nearest_by_cosine():
    given = rows(3, 20, 8, 0.5)
    given[7] = given[3]  # twins
    given[11] = 0  # a row that points nowhere
    indices, distances = nearest_first(given, 6)
    exact = 1 - given.astype(np.float64) @ given.T.astype(np.float64)
    assert np.array_equal(indices[:, 0], np.arange(60))
    others = exact + 10 * np.eye(60)
    assert np.allclose(np.sort(others, axis=1)[:, :5], distances[:, 1:], atol=1e-6)
    assert np.allclose(np.take_along_axis(exact, indices[:, 1:], 1), distances[:, 1:], atol=1e-6)
    assert (distances[:, 0] == 0).all()


def test_groups_stay_together_and_the_map_is_the_same_each_time():
    given = rows(3, 40, 16, 0.1)
    seen: list[int] = []
    points = map_of(given, nearest_first(given, 10), QUICK, seen.append)
    assert points.shape == (120, 2)
    assert np.isfinite(points).all()
    away = np.linalg.norm(points[:, None] - points[None], axis=2) + 1e9 * np.eye(120)
    group = np.arange(120) // 40
    assert (group[away.argmin(1)] == group).all()
    assert np.array_equal(points, map_of(given, nearest_first(given, 10), QUICK))
    assert seen[-1] >= 49
    assert seen == sorted(seen)


def test_a_map_lies_level():
    rng = np.random.default_rng(0)
    turned = rng.normal(size=(500, 2)) * [1, 5] @ np.array([[0.8, 0.6], [-0.6, 0.8]])
    points = level(turned)
    assert np.allclose(np.cov(points.T)[0, 1], 0, atol=1e-9)
    assert points[:, 0].std() > points[:, 1].std()
    assert np.allclose(np.linalg.norm(points[0] - points[9]), np.linalg.norm(turned[0] - turned[9]))


def test_too_few_rows_are_one_line():
    with pytest.raises(UserError, match="needs at least 4 features, this SAE has 3"):
        nearest_first(np.eye(3, dtype=np.float32), 2)
