"""Per-feature numbers, computed over a run of consecutive features whose codes are sorted by (feature, place).

Everything is over ordinary (not special) tokens and over the stored half-float values, exactly: quantiles are order
statistics, sums of halves are exact in float64 up to 5e8.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from store.counting import within_rows
from store.halfs import to_bits, to_float

QUANTILES = (50, 250, 500, 750, 950, 990)
"""Thousandths; quantile p of n sorted values is number ceil(p n) (nearest rank)."""
_HALVES = 1 << 15
"""Half-float bits of positive values lie below."""
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


def gather(first: int, bounds: NDArray[np.int64], places: NDArray[np.int64], halves: NDArray[np.int16]) -> Codes:
    """The codes of the features from `first` on; those of feature first + i are bounds[i]:bounds[i + 1]."""
    local = np.repeat(np.arange(len(bounds) - 1, dtype=np.int32), np.diff(bounds))
    return Codes(first, local, places, halves, bounds, within_rows(bounds, halves, _HALVES).astype(np.int64))


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
    if (key[1:] < key[:-1]).any():
        key.sort()
    new = np.diff(key, prepend=-1) != 0
    return np.bincount(codes.features[new], minlength=len(codes.n_active))


def top_tokens(codes: Codes, tokens: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The token that carries most of each feature's activation (lowest id if tied), and its share; (-1, 0) if dead."""
    n = len(codes.n_active)
    token, share = np.full(n, -1, np.int64), np.zeros(n)
    if len(tokens) == 0:
        return token, share
    order = within_rows(codes.bounds, tokens, int(tokens.max()) + 1)
    key = (codes.features.astype(np.int64) << 32) | tokens[order]
    start = np.flatnonzero(np.diff(key, prepend=-1))
    mass = np.add.reduceat(to_float(codes.halves[order]).astype(np.float64), start)
    feature = key[start] >> 32
    begins = np.flatnonzero(np.diff(feature, prepend=-1))
    alive, width = feature[begins], np.diff(begins, append=len(feature))
    largest_mass = np.maximum.reduceat(mass, begins)
    winners = np.flatnonzero(mass == np.repeat(largest_mass, width))
    first = winners[np.flatnonzero(np.diff(feature[winners], prepend=-1))]
    token[alive] = key[start[first]] & 0xFFFFFFFF
    share[alive] = largest_mass / np.add.reduceat(mass, begins)
    return token, share


def histograms(codes: Codes) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Edges float32[n, BINS + 1] and counts int64[n, BINS]; bin i holds edges[i] <= value < edges[i + 1], the last
    also its upper edge. Zeros for dead features.
    """
    edges = (largest(codes).astype(np.float64)[:, None] * np.arange(BINS + 1) / BINS).astype(np.float32)
    key = (codes.features.astype(np.int64) * _HALVES) + codes.halves[codes.by_value]
    wanted = np.arange(len(edges))[:, None] * _HALVES + _at_least(edges[:, :-1])
    below = np.append(np.searchsorted(key, wanted), codes.bounds[1:, None], axis=1)
    return edges, np.diff(below, axis=1)


def _at_least(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Bits of the smallest half that is not below each value."""
    bits = to_bits(values)
    return bits.astype(np.int64) + (to_float(bits) < values)


def share_at_commonest_position(codes: Codes, length: int) -> NDArray[np.float64]:
    """float64[n], the share of each feature's codes that lie at the one position in a context where most do."""
    n = len(codes.n_active)
    cell = codes.features.astype(np.int64) * length + codes.places % length
    most = np.bincount(cell, minlength=n * length).reshape(n, length).max(1)
    return most / np.maximum(codes.n_active, 1)


def share_of(codes: Codes, chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """float64[n], the share of each feature's codes that are chosen; 0 for dead features."""
    return np.bincount(codes.features[chosen], minlength=len(codes.n_active)) / np.maximum(codes.n_active, 1)
