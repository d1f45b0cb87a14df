"""Counting values into bins whose edges a person can read, type and filter by."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

_DIGITS = 3
_PER_DECADE = (20, 10, 5, 4, 2, 1)


class Bins(NamedTuple):
    """counts[i] values lie in edges[i] <= value < edges[i + 1], the last bin with its upper edge."""

    edges: Float[np.ndarray, " bins+1"]
    counts: Int[np.ndarray, " bins"]


class Grid(NamedTuple):
    """counts[j, i] pairs lie in the bins x[i]..x[i + 1] and y[j]..y[j + 1]."""

    x: Float[np.ndarray, " columns+1"]
    y: Float[np.ndarray, " rows+1"]
    counts: Int[np.ndarray, "rows columns"]


def log_edges(values: Float[np.ndarray, " n"], most: int = 30) -> Float[np.ndarray, " bins+1"]:
    """At most `most` bins (or one per decade) of equal width in log10 around positive values, edges of three digits."""
    low, high = np.log10(values.min()), np.log10(values.max())
    for per_decade in _PER_DECADE:
        first, last = np.floor(low * per_decade), np.floor(high * per_decade) + 1
        if last - first <= most:
            break
    edges = _rounded(10 ** (np.arange(first, last + 1) / per_decade))
    if values.min() < edges[0]:
        edges = np.append(_rounded(10 ** ((first - 1) / per_decade)), edges)
    if values.max() > edges[-1]:
        edges = np.append(edges, _rounded(10 ** ((last + 1) / per_decade)))
    return edges


def even_edges(values: Float[np.ndarray, " n"], most: int = 40) -> Float[np.ndarray, " bins+1"]:
    """At most `most` bins of 1, 2 or 5 times a power of ten in width; one alone where the values are all but equal."""
    low, high = float(values.min()), float(values.max())
    size = max(abs(low), abs(high))
    if high - low < 1e-3 * size or size == 0:
        margin = size / 100 or 1
        return _rounded(np.array([low - margin, high + margin]))
    rough = (high - low) / (most - 1)
    power = 10 ** np.floor(np.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    places = max(0, int(-np.floor(np.log10(step))))
    return np.round(np.arange(np.floor(low / step), np.floor(high / step) + 2) * step, places)


def counted(values: Float[np.ndarray, " n"], edges: Float[np.ndarray, " bins+1"]) -> Bins:
    """How many values lie in each bin."""
    return Bins(edges, np.histogram(values, edges)[0])


def counted_pairs(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], most: int = 30) -> Grid:
    """How many pairs of positive values lie in each cell of a log grid."""
    x_edges, y_edges = log_edges(x, most), log_edges(y, most)
    counts = np.histogram2d(y, x, bins=(y_edges, x_edges))[0]
    return Grid(x_edges, y_edges, counts.astype(np.int64))


def _rounded(values: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """To three significant digits."""
    return np.vectorize(lambda value: float(f"{value:.{_DIGITS}g}"), otypes=[float])(values)
