"""The rows of the two tables that hold every code, some at a time: by context and by feature.

Each is one rising number per code and its activation's bits (see `schema/index_0002.sql`).
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from store.counting import by_column
from store.sorting import SortedCodes, runs

_ROWS_AT_ONCE = 1 << 21
_CONTEXTS_AT_ONCE = 1 << 14


def by_context(codes: SortedCodes, n_features: int, length: int) -> Iterator[pa.Table]:
    """The rows of `by_context`, in order: context, key, half.

    Some contexts at a time are sorted by feature, and the outcome by context, which keeps the order of features.
    """
    per_context = codes.token_bounds[::length]
    for first, n in runs(per_context, _ROWS_AT_ONCE // 2, _CONTEXTS_AT_ONCE):
        bounds = codes.token_bounds[first * length : (first + n) * length + 1]
        here = slice(bounds[0], bounds[-1])
        features, halves = codes.token_features[here], codes.token_halves[here]
        ends, places, half = by_column(bounds - bounds[0], features, n_features, halves)
        packed = ((places % length) << 16) | half
        ends, feature, packed = by_column(ends, places // length, n, packed)
        counts = ends[1:] - ends[:-1]
        context = np.repeat(np.arange(first, first + n, dtype=np.int32), counts)
        key = (context * np.int64(n_features) + feature) * length + (packed >> 16)
        half = (packed & 0xFFFF).astype(np.int16)
        yield pa.table({"context": context, "key": key, "half": half})


def by_feature(codes: SortedCodes) -> Iterator[pa.Table]:
    """The rows of `by_feature`, in order: feature, key, half."""
    n_places = len(codes.token_bounds) - 1
    for start in range(0, len(codes.places), _ROWS_AT_ONCE):
        here = slice(start, min(start + _ROWS_AT_ONCE, len(codes.places)))
        first, last = np.searchsorted(codes.bounds, [here.start, here.stop - 1], side="right") - 1
        edges = np.clip(codes.bounds[first : last + 2], here.start, here.stop).astype(np.int64)
        counts = edges[1:] - edges[:-1]
        feature = np.repeat(np.arange(first, last + 1, dtype=np.int32), counts)
        key = feature * np.int64(n_places) + codes.places[here]
        yield pa.table({"feature": feature, "key": key, "half": np.array(codes.halves[here])})


def recut(pieces: Iterable[pa.Table], size: int) -> Iterator[pa.Table]:
    """The same rows in tables of `size`; the last one has what is left."""
    held: list[pa.Table] = []
    n = 0
    for piece in pieces:
        while n + piece.num_rows >= size:
            yield pa.concat_tables([*held, piece.slice(0, size - n)])
            piece, held, n = piece.slice(size - n), [], 0
        held.append(piece)
        n += piece.num_rows
    if n:
        yield pa.concat_tables(held)
