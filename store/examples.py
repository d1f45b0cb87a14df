"""Which places to show for a feature: its strongest, and a sample from each band of its activations' ranks."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from store.positions import AFTER, BEFORE, Positions, mix
from store.staging import lists
from store.statistics import Codes

TOP = 20
"""Strongest examples kept per feature."""
BANDS = (0, 250, 500, 750, 950, 1000)
"""Edges of the bands of rank, in thousandths of a feature's activations, weakest first."""
PER_BAND = 8
"""Examples kept per band."""
RANDOM = 16
"""Random examples kept per feature."""
RANDOM_BAND = -1
_CANDIDATES = 24
_SEED = 20240606


@dataclass(frozen=True)
class Chosen:
    """Examples in order of (feature, band, rank): the code each stands for, its band (0: strongest) and its rank."""

    code: NDArray[np.int64]
    band: NDArray[np.int64]
    rank: NDArray[np.int64]


def choose(codes: Codes, positions: Positions) -> Chosen:
    """The strongest examples, those sampled from bands and those drawn at random of every feature."""
    top = strongest(codes, positions, TOP)
    sampled, band = sample_bands(codes, positions)
    random = sample_random(codes)
    code = np.concatenate([top, sampled, random])
    band = np.concatenate([np.zeros(len(top), np.int64), band, np.full(len(random), RANDOM_BAND)])
    preference = np.concatenate(
        [-codes.halves[code[: len(code) - len(random)]].astype(np.int64), np.arange(len(random))]
    )
    order = np.lexsort((codes.places[code], preference, band, codes.features[code]))
    code, band = code[order], band[order]
    return Chosen(code, band, _rank(codes.features[code] * np.int64(len(BANDS) + 1) + band - RANDOM_BAND))


def strongest(codes: Codes, positions: Positions, n: int) -> NDArray[np.int64]:
    """Up to n codes per feature: the largest of a context (earliest if tied), contexts by falling value, and of those
    that show the same tokens around the peak only the first.
    """
    looked_at = np.minimum(codes.n_active, 4 * n)
    kept = _strongest_of(codes, positions, _top_codes(codes, looked_at), n)
    counts = np.bincount(codes.features[kept], minlength=len(codes.n_active))
    starved = (counts < n) & (codes.n_active > looked_at)
    if starved.any():
        again = _strongest_of(codes, positions, _top_codes(codes, codes.n_active * starved), n)
        kept = np.concatenate([kept[~starved[codes.features[kept]]], again])
    return kept


def _top_codes(codes: Codes, counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each feature's `counts` largest codes by falling value, earliest first if tied; where not all are asked for,
    those that tie with the weakest of them are left out.
    """
    start = codes.bounds[1:] - counts
    ranks, _ = ranges(start, codes.bounds[1:])
    chosen = codes.by_value[ranks]
    cut = codes.halves[codes.by_value[np.minimum(start, max(len(codes.by_value) - 1, 0))]] if len(chosen) else counts
    partial = counts < codes.n_active
    feature = codes.features[chosen]
    chosen = chosen[~partial[feature] | (codes.halves[chosen] > cut[feature])]
    bits = max(len(codes.features) - 1, 1).bit_length()
    weakness = (0x7FFF - codes.halves[chosen]).astype(np.int64)
    key = (codes.features[chosen].astype(np.int64) << (15 + bits)) | (weakness << bits) | chosen
    key.sort()
    return key & ((1 << bits) - 1)


def _strongest_of(codes: Codes, positions: Positions, ranked: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Of codes sorted by feature and preference: the first of each context, and of these the first with each text."""
    peaks = ranked[first_of_each(codes.features[ranked], codes.places[ranked] // positions.length)]
    kept = peaks[first_of_each(codes.features[peaks], positions.around[codes.places[peaks]])]
    return kept[_rank(codes.features[kept]) < n]


def first_of_each(feature: NDArray[np.integer], same: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Which rows, sorted by feature and then preference, are the first of their feature with their value of `same`."""
    order = np.lexsort((same, feature))
    repeated = np.zeros(len(feature), bool)
    repeated[order[1:]] = (np.diff(feature[order]) == 0) & (same[order][1:] == same[order][:-1])
    return ~repeated


def sample_bands(codes: Codes, positions: Positions) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Up to PER_BAND codes of each (feature, band) and their bands (1 … ), drawn by a hash of (feature, place); of one
    context, and of the same tokens around the peak, only one. Of a large band only some _CANDIDATES are looked at.
    """
    n_bands = len(BANDS) - 1
    edges = -(-codes.n_active[:, None] * np.array(BANDS) // 1000) + codes.bounds[:-1, None]
    start, size = edges[:, :-1].ravel(), np.diff(edges, axis=1).ravel()
    drawn, known = _draw(codes, start, size, codes.by_value, n_bands, _CANDIDATES)
    places = codes.places[drawn]
    kept = _first_unlike(known, places // positions.length, positions.around[places]) & known
    kept &= np.cumsum(kept, axis=1) <= PER_BAND
    return drawn[kept], np.nonzero(kept)[0] % n_bands + 1


def sample_random(codes: Codes) -> NDArray[np.int64]:
    """Up to RANDOM codes of each feature, drawn uniformly and without replacement by a hash of (feature, place)."""
    every = np.arange(len(codes.places))
    drawn, known = _draw(codes, codes.bounds[:-1], codes.n_active, every, 1, 3 * RANDOM)
    kept = _first_unlike(known, drawn) & known
    return drawn[kept & (np.cumsum(kept, axis=1) <= RANDOM)]


def _draw(
    codes: Codes,
    start: NDArray[np.int64],
    size: NDArray[np.int64],
    order: NDArray[np.int64],
    per_feature: int,
    n: int,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Codes int64[groups, n], of group i some of order[start[i]:start[i] + size[i]] in a hashed order, and which of
    them are there: all of a small group, of a large one n hashed ranks, which may repeat. What is hashed is numbered
    from the first feature of all on, so that it does not depend on which features are looked at together.
    """
    column = np.arange(n)
    name = (np.arange(len(size)) + codes.first * per_feature).astype(np.uint64)[:, None]
    hashed = mix(name * np.uint64(n) + column.astype(np.uint64) + np.uint64(_SEED))
    large = size[:, None] > n
    ranks = np.where(large, (hashed % np.maximum(size, 1).astype(np.uint64)[:, None]).astype(np.int64), column)
    known = column < np.minimum(size, n)[:, None]
    if len(order) == 0:
        return np.zeros((len(size), 0), np.int64), np.zeros((len(size), 0), bool)
    drawn = order[np.where(known, start[:, None] + ranks, 0)]
    seed = mix((name // np.uint64(per_feature)) + np.uint64(_SEED))
    chance = np.where(known, mix(codes.places[drawn].astype(np.uint64) ^ seed) >> np.uint64(1), np.uint64(1 << 63))
    shuffled = np.argsort(chance, axis=1, kind="stable")
    return np.take_along_axis(drawn, shuffled, 1), np.take_along_axis(known, shuffled, 1)


def _first_unlike(known: NDArray[np.bool_], *alike: NDArray[Any]) -> NDArray[np.bool_]:
    """bool[groups, n]: going along a row, which entries are like none kept before them in any of `alike`[groups, n]."""
    kept = known.copy()
    for i in range(1, known.shape[1]):
        for same in alike:
            kept[:, i] &= ~((same[:, :i] == same[:, i : i + 1]) & kept[:, :i]).any(1)
    return kept


def _rank(group: NDArray[np.integer]) -> NDArray[np.int64]:
    """0, 1, 2 … within each run of equal numbers."""
    index = np.arange(len(group))
    starts = np.flatnonzero(np.diff(group, prepend=-1) != 0)
    return index - np.repeat(starts, np.diff(starts, append=len(group)))


def example_table(codes: Codes, chosen: Chosen, positions: Positions) -> pa.Table:
    """The rows of the table `example`: where the peak is, every activation in its window, the strongest's tokens."""
    places, length = codes.places[chosen.code], positions.length
    context = places - places % length
    start, stop = np.maximum(places - BEFORE, context), np.minimum(places + AFTER + 1, context + length)
    n_places = np.int64(len(positions.tokens))
    key = codes.features * n_places + codes.places
    own = codes.features[chosen.code] * n_places
    active, offsets = ranges(np.searchsorted(key, own + start), np.searchsorted(key, own + stop))
    from_peak = codes.places[active] - np.repeat(places, np.diff(offsets))
    strongest = chosen.band == 0
    shown, shown_offsets = ranges(start, np.where(strongest, stop, start))
    tokens = pa.array(positions.tokens[shown])
    return pa.table({
        "feature": codes.features[chosen.code] + np.int32(codes.first),
        "band": chosen.band.astype(np.int16),
        "rank": chosen.rank.astype(np.int16),
        "place": places,
        "half": codes.halves[chosen.code],
        "active": lists(from_peak.astype(np.int16), offsets),
        "halves": lists(codes.halves[active], offsets),
        "tokens": pa.ListArray.from_arrays(shown_offsets.astype(np.int32), tokens, mask=pa.array(~strongest)),
    })  # fmt: skip


def ranges(start: NDArray[np.int64], stop: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """start[0] … stop[0] - 1, start[1] … stop[1] - 1, …, and where each begins in that."""
    counts = stop - start
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return np.arange(offsets[-1]) + np.repeat(start - offsets[:-1], counts), offsets
