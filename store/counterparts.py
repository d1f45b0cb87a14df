"""The counterparts of every feature of one SAE among those of another: all pairs, in blocks of rows.

The words are defined in `store.compare`. Only the best pairs of each feature are kept; memory is that of the codes of b
and of one block of rows.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

KEPT = 5
"""Counterparts kept of each feature of the first SAE, by cosine and by Jaccard each."""
_CELLS_AT_ONCE = 1 << 22
_ROWS_AT_ONCE = 4096

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Codes:
    """Where features are active: feature features[i] at place places[i], sorted by feature and then by place."""

    features: Numbers
    places: Numbers
    counts: Numbers
    """[M], on how many tokens each feature is active."""


def compared(
    rows_a: NDArray[np.float32],
    rows_b: NDArray[np.float32],
    a: Codes,
    b: Codes,
    n_places: int,
    threshold: float,
    on_progress: Callable[[int], None] = lambda _: None,
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """The tables behind `Comparison`: of the first SAE, of the second, and of pairs.

    Args:
        rows_a, rows_b: float32[M, D], decoder rows of length 1.
        a, b: their codes on the same tokens.
        n_places: number of those.
        threshold: from which cosine on two features are kin.
        on_progress: told how many features of the first SAE are done.
    """
    near_a, near_b, alike = _nearest(rows_a, rows_b, a.counts > 0, b.counts > 0)
    partner_a, partner_b, pairs, both = _partners(a, b, n_places, alike, on_progress)
    cosine_a, cosine_b = _cosines(rows_a, rows_b, near_a), _cosines(rows_b, rows_a, near_b)
    words_a, words_b = ("vanished", "split", "merged"), ("appeared", "merged", "split")
    kin_a, kin_b = (near_a >= 0) & (cosine_a >= threshold), (near_b >= 0) & (cosine_b >= threshold)
    status_a = _status(near_a, near_b, kin_a, kin_b, a.counts > 0, words_a)
    status_b = _status(near_b, near_a, kin_b, kin_a, b.counts > 0, words_b)
    i, j = pairs
    table = {
        "a": i.astype(np.int32),
        "b": j.astype(np.int32),
        "cosine": _cosines(rows_a[i], rows_b, j),
        "jaccard": both / (a.counts[i] + b.counts[j] - both),
        "both": both,
    }
    order = np.lexsort((j, -table["cosine"], i))
    return (
        _side(status_a, near_a, cosine_a, partner_a),
        _side(status_b, near_b, cosine_b, partner_b),
        pa.table({name: column[order] for name, column in table.items()}),
    )


@dataclass(frozen=True)
class _Partners:
    """Of every feature the one active on most of the same tokens (-1: none), their Jaccard index, and on how many."""

    other: Numbers
    jaccard: NDArray[np.float64]
    both: Numbers

    @classmethod
    def none(cls, n: int) -> "_Partners":
        """Nobody has one yet."""
        return cls(np.full(n, -1), np.zeros(n), np.zeros(n, np.int64))


def _nearest(
    rows_a: NDArray[np.float32], rows_b: NDArray[np.float32], alive_a: NDArray[np.bool_], alive_b: NDArray[np.bool_]
) -> tuple[Numbers, Numbers, tuple[Numbers, Numbers]]:
    """The nearest of every feature of a and of b (-1: none), and the pairs worth keeping."""
    near_a, near_b = np.full(len(rows_a), -1), np.full(len(rows_b), -1)
    best_b = np.full(len(rows_b), -np.inf, np.float32)
    found_a, found_b = [], []
    for first in _starts(len(rows_a), len(rows_b)):
        chunk = slice(first, first + _height(len(rows_b)))
        cosine = rows_a[chunk] @ rows_b.T
        cosine[:, ~alive_b] = cosine[~alive_a[chunk]] = -np.inf
        i, j = _top(cosine, KEPT, -np.inf)
        leading = np.flatnonzero(np.diff(i, prepend=-1))
        near_a[i[leading] + first] = j[leading]
        found_a.append(i + first)
        found_b.append(j)
        strongest = cosine.argmax(axis=0)
        value = cosine[strongest, np.arange(len(rows_b))]
        better = value > best_b
        near_b[better], best_b[better] = strongest[better] + first, value[better]
    known = np.flatnonzero(near_b >= 0)
    return near_a, near_b, (np.concatenate([*found_a, near_b[known]]), np.concatenate([*found_b, known]))


def _partners(
    a: Codes, b: Codes, n_places: int, alike: tuple[Numbers, Numbers], on_progress: Callable[[int], None]
) -> tuple[_Partners, _Partners, tuple[Numbers, Numbers], Numbers]:
    """Partners by Jaccard; the pairs given and those found, each once, and on how many tokens both are active."""
    of_a, of_b = _Partners.none(len(a.counts)), _Partners.none(len(b.counts))
    pairs: list[tuple[Numbers, Numbers, Numbers]] = []
    for first, both in _together(a, b, n_places):
        jaccard = both / np.maximum(a.counts[first : first + len(both), None] + b.counts - both, 1)
        i, j = _top(jaccard, KEPT, 0)
        pairs.append((i + first, j, both[i, j]))
        leading = np.flatnonzero(np.diff(i, prepend=-1))
        _replace(of_a, i[leading] + first, j[leading], jaccard[i, j][leading], both[i, j][leading])
        here = (alike[0] >= first) & (alike[0] < first + len(both))
        pairs.append((alike[0][here], alike[1][here], both[alike[0][here] - first, alike[1][here]]))
        strongest, column = jaccard.argmax(axis=0), np.arange(len(b.counts))
        better = np.flatnonzero(jaccard[strongest, column] > of_b.jaccard)
        i = strongest[better]
        _replace(of_b, better, i + first, jaccard[i, better], both[i, better])
        on_progress(first + len(both))
    known = np.flatnonzero(of_b.other >= 0)
    pairs.append((of_b.other[known], known, of_b.both[known]))
    i, j, n = (np.concatenate([column[k] for column in pairs]) for k in range(3))
    _, once = np.unique(i * len(b.counts) + j, return_index=True)
    return of_a, of_b, (i[once], j[once]), n[once]


def _replace(
    partners: _Partners, features: Numbers, other: Numbers, jaccard: NDArray[np.float64], both: Numbers
) -> None:
    partners.other[features], partners.jaccard[features], partners.both[features] = other, jaccard, both


def _together(a: Codes, b: Codes, n_places: int) -> Iterator[tuple[int, Numbers]]:
    """(i, counts[n, M_b]): on how many tokens the features i … i + n − 1 of a are active together with each of b."""
    from scipy.sparse import csr_array  # only who compares pays for loading it

    def ones(codes: Codes) -> NDArray[np.int32]:
        return np.ones(len(codes.places), np.int32)

    offsets = np.concatenate([[0], np.cumsum(a.counts)])
    by_feature = csr_array((ones(a), a.places, offsets), shape=(len(a.counts), n_places))
    by_place = csr_array((ones(b), (b.places, b.features)), shape=(n_places, len(b.counts)))
    for first in _starts(len(a.counts), len(b.counts)):
        block = by_feature[first : first + _height(len(b.counts))] @ by_place
        yield first, block.toarray().astype(np.int64)


def _status(
    nearest: Numbers,
    nearest_back: Numbers,
    kin: NDArray[np.bool_],
    kin_back: NDArray[np.bool_],
    alive: NDArray[np.bool_],
    words: tuple[str, str, str],
) -> NDArray[np.str_]:
    """The word for every feature; see the module."""
    children = np.bincount(nearest_back[kin_back], minlength=len(nearest))
    mutual = nearest_back[nearest] == np.arange(len(nearest))
    without, several, elsewhere = words
    return np.select([~alive, ~kin, children >= 2, mutual], ["dead", without, several, "kept"], elsewhere)


def _top(matrix: NDArray[Any], n: int, above: float) -> tuple[Numbers, Numbers]:
    """(row, column) of the n largest of each row that are larger than `above`: rows in order, values falling, the
    first column first among equals.
    """
    n = min(n, matrix.shape[1])
    least = np.partition(matrix, matrix.shape[1] - n, axis=1)[:, matrix.shape[1] - n, None]
    i, j = np.nonzero((matrix >= least) & (matrix > above))
    order = np.lexsort((j, -matrix[i, j], i))
    i, j = i[order], j[order]
    starts = np.flatnonzero(np.diff(i, prepend=-1))
    rank = np.arange(len(i)) - np.repeat(starts, np.diff(starts, append=len(i)))
    return i[rank < n], j[rank < n]


def _cosines(rows: NDArray[np.float32], others: NDArray[np.float32], other: Numbers) -> NDArray[np.float32]:
    """Cosine of rows[i] and others[other[i]]; 0 where that is none."""
    out = np.zeros(len(rows), np.float32)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        out[part] = np.einsum("id,id->i", rows[part], others[other[part]])
    return np.where(other >= 0, out, np.float32(0))


def _side(status: NDArray[np.str_], nearest: Numbers, cosine: NDArray[np.float32], partner: _Partners) -> pa.Table:
    """What is known of every feature of one SAE; NULL where there is no counterpart."""
    alone, unused = nearest < 0, partner.other < 0
    return pa.table({
        "feature": np.arange(len(status), dtype=np.int32),
        "status": pa.array(status.tolist(), pa.string()),
        "nearest": pa.array(nearest.astype(np.int32), mask=alone),
        "cosine": pa.array(cosine, mask=alone),
        "partner": pa.array(partner.other.astype(np.int32), mask=unused),
        "jaccard": pa.array(partner.jaccard, mask=unused),
        "both": pa.array(partner.both, mask=unused),
    })  # fmt: skip


def _height(width: int) -> int:
    """Rows of a block of so many columns."""
    return max(_CELLS_AT_ONCE // max(width, 1), 1)


def _starts(rows: int, width: int) -> range:
    return range(0, rows, _height(width))
