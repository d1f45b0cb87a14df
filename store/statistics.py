"""Per-feature numbers, computed over a run of consecutive features whose codes are sorted by (feature, place).

Everything is over ordinary (not special) tokens and over the stored half-float values, exactly: quantiles are order
statistics, sums of halves are exact in float64 up to 5e8.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from store.halfs import to_float

QUANTILES = (50, 250, 500, 750, 950, 990)
"""Thousandths; quantile p of n sorted values is number ceil(p n) (nearest rank)."""
BINS = 30
"""Equal bins of the activation histogram, from 0 to the feature's largest activation."""


@dataclass(frozen=True)
class Codes:
    """The codes of features `first` to `first + n - 1`.

    Attributes:
        features: int32[nnz] counted from `first`, sorted; places: int64[nnz], sorted within a feature.
        halves: int16[nnz].
        bounds: int64[n + 1]; the codes of feature first + i are bounds[i]:bounds[i + 1].
        by_value: int64[nnz], the codes reordered by (feature, value, place), within the same bounds.
    """

    first: int
    features: NDArray[np.int32]
    places: NDArray[np.int64]
    halves: NDArray[np.int16]
    bounds: NDArray[np.int64]
    by_value: NDArray[np.int64]

    @property
    def n_active(self) -> NDArray[np.int64]:
        """int64[n], codes per feature."""
        return np.diff(self.bounds)


def gather(
    first: int, n: int, features: NDArray[np.int32], places: NDArray[np.int64], halves: NDArray[np.int16]
) -> Codes:
    """Codes from the columns of the table `by_feature`."""
    local = features - np.int32(first)
    bounds = np.searchsorted(local, np.arange(n + 1)).astype(np.int64)
    bits = max(len(local) - 1, 1).bit_length()
    if n.bit_length() + 15 + bits > 63:
        raise ValueError("too many codes at once")
    key = (local.astype(np.int64) << (15 + bits)) | (halves.astype(np.int64) << bits) | np.arange(len(local))
    key.sort()
    return Codes(first, local, places, halves, bounds, key & ((1 << bits) - 1))


def quantiles(codes: Codes) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Values of QUANTILES of each active feature, end to end, and the offsets of each feature's (none if dead)."""
    alive = codes.n_active > 0
    n, start = codes.n_active[alive], codes.bounds[:-1][alive]
    ranks = (n[:, None] * np.array(QUANTILES) + 999) // 1000 - 1
    values = to_float(codes.halves[codes.by_value[start[:, None] + ranks]].ravel())
    return values, np.concatenate([[0], np.cumsum(alive * len(QUANTILES))])


def largest(codes: Codes) -> NDArray[np.float32]:
    """float32[n], 0 for dead features."""
    out = np.zeros(len(codes.n_active), np.int16)
    alive = codes.n_active > 0
    out[alive] = codes.halves[codes.by_value[codes.bounds[1:][alive] - 1]]
    return to_float(out)


def means(codes: Codes) -> NDArray[np.float64]:
    """float64[n], over active tokens; 0 for dead features."""
    sums = np.bincount(codes.features, to_float(codes.halves).astype(np.float64), len(codes.n_active))
    return sums / np.maximum(codes.n_active, 1)


def distinct(codes: Codes, groups: NDArray[np.int32]) -> NDArray[np.int64]:
    """int64[n], how many different groups (for instance documents) each feature's codes fall into."""
    key = (codes.features.astype(np.int64) << 32) | groups
    return np.bincount(np.unique(key) >> 32, minlength=len(codes.n_active))


def top_tokens(codes: Codes, tokens: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The token that carries most of each feature's activation (lowest id if tied), and its share; (-1, 0) if dead."""
    n = len(codes.n_active)
    key = (codes.features.astype(np.int64) << 46) | (tokens.astype(np.int64) << 15) | codes.halves
    key.sort()
    values = to_float((key & 0x7FFF).astype(np.int16)).astype(np.float64)
    key >>= 15
    start = np.flatnonzero(np.diff(key, prepend=-1))
    key, mass = key[start], np.add.reduceat(values, start) if len(start) else values
    order = np.lexsort((key, -mass, key >> 31))
    first = order[np.flatnonzero(np.diff(key[order] >> 31, prepend=-1))]
    token, share = np.full(n, -1, np.int64), np.zeros(n)
    alive = key[first] >> 31
    token[alive] = key[first] & 0x7FFFFFFF
    share[alive] = mass[first] / np.bincount(key >> 31, mass, n)[alive]
    return token, share


def histograms(codes: Codes) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Edges float32[n, BINS + 1] and counts int64[n, BINS]; bin i holds edges[i] <= value < edges[i + 1], the last
    also its upper edge. Zeros for dead features.
    """
    edges = (largest(codes).astype(np.float64)[:, None] * np.arange(BINS + 1) / BINS).astype(np.float32)
    values = to_float(codes.halves)
    table, row = edges.ravel(), codes.features.astype(np.int64) * (BINS + 1)
    with np.errstate(divide="ignore"):
        guess = np.minimum((values * (BINS / table[row + BINS])).astype(np.int64), BINS - 1)
    guess -= values < table[row + guess]
    guess += (guess < BINS - 1) & (values >= table[row + guess + 1])
    counts = np.bincount(codes.features.astype(np.int64) * BINS + guess, minlength=len(edges) * BINS)
    return edges, counts.reshape(-1, BINS)
