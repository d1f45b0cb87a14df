"""Which places to show for a feature: its strongest, and a sample from each band of its activations' ranks."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from store.positions import AFTER, BEFORE, Positions, mix
from store.staging import lists
from store.statistics import Codes

TOP = 32
"""Strongest examples kept per feature."""
BANDS = (0, 250, 500, 750, 950, 1000)
"""Edges of the bands of rank, in thousandths of a feature's activations, weakest first."""
PER_BAND = 8
"""Examples kept per band."""
_CANDIDATES = 64
_SEED = 20240606


@dataclass(frozen=True)
class Chosen:
    """Examples in order of (feature, band, rank): the code each stands for, its band (0: strongest) and rank."""

    code: NDArray[np.int64]
    band: NDArray[np.int64]
    rank: NDArray[np.int64]


def choose(codes: Codes, positions: Positions) -> Chosen:
    """The strongest examples and the sampled ones of every feature."""
    top = strongest(codes, positions, TOP)
    sampled, band = sample_bands(codes, positions)
    code = np.concatenate([top, sampled])
    band = np.concatenate([np.zeros(len(top), np.int64), band])
    order = np.lexsort((codes.places[code], -codes.halves[code], band, codes.features[code]))
    code, band = code[order], band[order]
    return Chosen(code, band, _rank(codes.features[code] * np.int64(len(BANDS)) + band))


def strongest(codes: Codes, positions: Positions, n: int) -> NDArray[np.int64]:
    """Up to n codes per feature: the largest of a context (earliest if tied), contexts by falling value, and of those
    that show the same tokens around the peak only the first.
    """
    peaks = _peaks(codes, positions.length)
    bits = max(len(peaks) - 1, 1).bit_length()
    weakness = (0x7FFF - codes.halves[peaks]).astype(np.int64)
    key = (codes.features[peaks].astype(np.int64) << (15 + bits)) | (weakness << bits) | np.arange(len(peaks))
    key.sort()
    peaks = peaks[key & ((1 << bits) - 1)]
    rank = _rank(codes.features[peaks])
    limit = 4 * n
    kept = _first_of_each(codes, positions, peaks[rank < limit], n)
    counts = np.bincount(codes.features[kept], minlength=len(codes.n_active))
    available = np.bincount(codes.features[peaks], minlength=len(codes.n_active))
    starved = (counts < n) & (available > limit)
    if starved.any():
        again = _first_of_each(codes, positions, peaks[starved[codes.features[peaks]]], n)
        kept = np.concatenate([kept[~starved[codes.features[kept]]], again])
    return kept


def _peaks(codes: Codes, length: int) -> NDArray[np.int64]:
    """The largest code of every (feature, context), the earliest if tied."""
    if len(codes.features) == 0:
        return np.zeros(0, np.int64)
    context = codes.places // length
    new = (np.diff(codes.features, prepend=-1) != 0) | (np.diff(context, prepend=-1) != 0)
    bits = len(codes.features).bit_length()
    last = (1 << bits) - 1
    key = (codes.halves.astype(np.int64) << bits) | (last - np.arange(len(codes.features)))
    return last - (np.maximum.reduceat(key, np.flatnonzero(new)) & last)


def _first_of_each(codes: Codes, positions: Positions, ranked: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Of codes sorted by feature and then preference: the first with each text, at most n per feature, same order."""
    feature, around = codes.features[ranked], positions.around[codes.places[ranked]]
    order = np.lexsort((np.arange(len(ranked)), around, feature))
    repeated = np.zeros(len(ranked), bool)
    repeated[order[1:]] = (np.diff(feature[order]) == 0) & (around[order][1:] == around[order][:-1])
    kept = ranked[~repeated]
    return kept[_rank(codes.features[kept]) < n]


def sample_bands(codes: Codes, positions: Positions) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Up to PER_BAND codes of each (feature, band) and their bands (1 … ), drawn by a hash of (feature, place); of one
    context, and of the same tokens around the peak, only one. Of a large band only some _CANDIDATES are looked at.
    """
    edges = -(-codes.n_active[:, None] * np.array(BANDS) // 1000) + codes.bounds[:-1, None]
    start, size = edges[:, :-1].ravel(), np.diff(edges, axis=1).ravel()
    group, ranks = _draw_ranks(codes.first, size)
    code, band = codes.by_value[start[group] + ranks], group % (len(BANDS) - 1) + 1
    feature = (codes.features[code] + np.int64(codes.first)).astype(np.uint64)
    draw = mix(codes.places[code].astype(np.uint64) ^ mix(feature + np.uint64(_SEED)))
    for name in ("context", "around"):
        same = codes.places[code] // positions.length if name == "context" else positions.around[codes.places[code]]
        kept = _one_of_each(group, same, draw)
        code, band, draw, group = code[kept], band[kept], draw[kept], group[kept]
    first = _rank(group) < PER_BAND
    return code[first], band[first]


def _draw_ranks(first: int, size: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(group, rank) pairs: every rank of a small group, different hashed ranks of a large one (numbered from `first`'s
    first band on, so that they do not depend on which features are looked at together).
    """
    wanted = np.minimum(size, _CANDIDATES)
    group = np.repeat(np.arange(len(size)), wanted)
    number = _rank(group)
    name = (group + first * (len(BANDS) - 1)).astype(np.uint64)
    hashed = mix(name * np.uint64(_CANDIDATES) + number.astype(np.uint64) + np.uint64(_SEED))
    large = size[group] > _CANDIDATES
    ranks = np.where(large, (hashed % size[group].astype(np.uint64)).astype(np.int64), number)
    pairs = np.unique((group << 40) | ranks)
    return pairs >> 40, pairs & ((1 << 40) - 1)


def _one_of_each(group: NDArray[np.int64], same: NDArray[np.generic], draw: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Indices of the lowest draw of every (group, same), sorted by (group, draw)."""
    order = np.lexsort((draw, same, group))
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(group[order]) != 0) | (same[order][1:] != same[order][:-1])
    kept = order[new]
    return kept[np.lexsort((draw[kept], group[kept]))]


def _rank(group: NDArray[np.integer]) -> NDArray[np.int64]:
    """0, 1, 2 … within each run of equal numbers."""
    index = np.arange(len(group))
    starts = np.flatnonzero(np.diff(group, prepend=-1) != 0)
    return index - np.repeat(starts, np.diff(starts, append=len(group)))


def example_table(codes: Codes, chosen: Chosen, positions: Positions) -> pa.Table:
    """The rows of the table `example`: the window of text, and every activation in the example's context."""
    places, length = codes.places[chosen.code], positions.length
    context, position = places // length, places % length
    start, stop = np.maximum(position - BEFORE, 0), np.minimum(position + AFTER + 1, length)
    window, window_offsets = _ranges(context * length + start, context * length + stop)
    spans = positions.spans[window]
    first, last = positions.first_byte[context * length + start], context * length + stop - 1
    text, text_offsets = _ranges(first, positions.first_byte[last] + np.maximum(positions.spans[last], 0))
    n_places = np.int64(len(positions.tokens))
    key = codes.features * n_places + codes.places
    own = codes.features[chosen.code] * n_places + context * length
    active, active_offsets = _ranges(np.searchsorted(key, own), np.searchsorted(key, own + length))
    return pa.table({
        "feature": codes.features[chosen.code] + np.int32(codes.first),
        "band": chosen.band.astype(np.int16),
        "rank": chosen.rank.astype(np.int16),
        "place": places,
        "half": codes.halves[chosen.code],
        "document": positions.documents_of(places),
        "byte": positions.bytes_of(places),
        "start": start.astype(np.int32),
        "tokens": lists(positions.tokens[window], window_offsets),
        "spans": lists(spans, window_offsets),
        "source": _blobs(positions.source[text], text_offsets),
        "active": lists((codes.places[active] % length).astype(np.int32), active_offsets),
        "halves": lists(codes.halves[active], active_offsets),
    })  # fmt: skip


def _ranges(start: NDArray[np.int64], stop: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """start[0] … stop[0] - 1, start[1] … stop[1] - 1, …, and where each begins in that."""
    counts = stop - start
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return np.arange(offsets[-1]) + np.repeat(start - offsets[:-1], counts), offsets


def _blobs(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> pa.Array:
    """data[offsets[i]:offsets[i + 1]] as binary values."""
    ends = pa.py_buffer(offsets.astype(np.int64))
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(offsets) - 1, [None, ends, pa.py_buffer(data)])
