"""Two SAEs side by side: which features of one are in the other, which appeared, split, merged or vanished.

Two features are alike in direction (cosine of their decoder rows) or in use (on which tokens of one corpus both are
active). Words are defined by direction, over the features that are active anywhere in the corpus: i's *nearest* is the
feature of the other SAE with the largest cosine (the lower number if tied), and they are *kin* if that cosine is at
least the threshold. Then

    of a, the first SAE:  vanished   it has no kin
                          split      it is the nearest kin of two or more features of b
                          kept       else, it and its nearest are each other's nearest
                          merged     else: its nearest is nearer to another feature of a
    of b, the second:     appeared   it has no kin
                          merged     it is the nearest kin of two or more features of a
                          kept       else, it and its nearest are each other's nearest
                          split      else: its nearest is nearer to another feature of b
    of both:              dead       never active in the corpus; it takes part in nothing

Use is measured beside it and decides nothing: `both` is on how many tokens both are active, `jaccard` that number as a
share of the tokens on which either is.

Nothing here says why: an SAE trained twice from different seeds has features of its own each time.

Decisions:
- Both are computed for all pairs, exactly; only the best of each feature are kept. Time grows with M_a × M_b × D and
  with the number of pairs of codes on one token; memory with the codes of b and with one block of rows.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from store.errors import StoreError
from store.index import Index
from store.relation import Relation
from store.weights import decoder_rows

THRESHOLD = 0.7
"""From which decoder cosine on two features are kin, unless somebody says otherwise."""
KEPT = 5
"""Counterparts kept of each feature of the first SAE, by cosine and by Jaccard each."""
_CELLS_AT_ONCE = 1 << 22
_ROWS_AT_ONCE = 4096

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Comparison:
    """What became of the features of one SAE in another; the words are defined in `store.compare`.

    Attributes:
        sae_a, sae_b, corpus: what was compared, over which text; threshold: from which cosine on two features are kin.
        a, b: all features of each SAE: `feature`, `status`, `nearest` of the other SAE and its `cosine`, the `partner`
            that is active on most of the same tokens (`jaccard`, `both`), then the columns of `features`. Dead features
            have NULL there.
        pairs: `a`, `b`, `cosine`, `jaccard`, `both` (tokens): of each feature of the first SAE the best five by either
            measure, of each of the second the best one; by a, then falling cosine.
    """

    sae_a: str
    sae_b: str
    corpus: str
    threshold: float
    a: Relation
    b: Relation
    pairs: Relation

    @property
    def kept(self) -> Relation:
        """Features of the first SAE that are in the second."""
        return self.a.filter("status = 'kept'")

    @property
    def split(self) -> Relation:
        """Features of the first SAE that are several in the second."""
        return self.a.filter("status = 'split'")

    @property
    def merged(self) -> Relation:
        """Features of the first SAE that another one stands for in the second."""
        return self.a.filter("status = 'merged'")

    @property
    def vanished(self) -> Relation:
        """Features of the first SAE that are not in the second."""
        return self.a.filter("status = 'vanished'")

    @property
    def appeared(self) -> Relation:
        """Features of the second SAE that were not in the first."""
        return self.b.filter("status = 'appeared'")

    def children(self, feature: int) -> Relation:
        """What a feature of the first SAE became: the features of the second whose nearest kin it is."""
        return self.b.filter(f"nearest = {int(feature)} AND cosine >= {self.threshold!r}").order("cosine DESC, feature")

    def summary(self) -> dict[str, dict[str, int]]:
        """How many features of "a" and of "b" have each status."""
        return {name: self._counts(side) for name, side in (("a", self.a), ("b", self.b))}

    def _counts(self, side: Relation) -> dict[str, int]:
        statuses, counts = np.unique(side.select("status").arrow()["status"].to_numpy(False), return_counts=True)
        return {str(status): int(count) for status, count in zip(statuses, counts, strict=True)}

    def __repr__(self) -> str:
        of = {name: ", ".join(f"{n:,} {s}" for s, n in counts.items()) for name, counts in self.summary().items()}
        return f"<{self.sae_a} ({of['a']}) against {self.sae_b} ({of['b']}) on {self.corpus}>"


def decoder(workspace: Path, index: Index) -> NDArray[np.float32]:
    """float32[M, D], the decoder rows of an index's SAE, each of length 1 (rows of zeros stay so).

    Raises:
        StoreError: the weights are missing, damaged, or hold no `W_dec` that NumPy can read.
    """
    weights = decoder_rows(workspace, index.meta["sae_id"])
    if len(weights) != index.n_features:
        path = workspace / "saes" / index.meta["sae_id"] / "sae.safetensors"
        raise StoreError(
            f"{path} has {len(weights)} features, its index {index.n_features}; run `saebench index` again"
        )
    return weights


@dataclass(frozen=True)
class Codes:
    """Where features are active: feature features[i] at place places[i], sorted by feature and then by place."""

    features: Numbers
    places: Numbers
    counts: Numbers
    """[M], on how many tokens each feature is active."""


def codes_of(index: Index) -> Codes:
    """All codes of an index; 16 bytes each."""
    length = index.context_length
    sql = f"SELECT feature::BIGINT AS feature, context::BIGINT * {length} + position AS place"
    rows = index.cursor().sql(f"{sql} FROM {index.table('activation')} ORDER BY ALL").to_arrow_table()
    features, places = rows["feature"].to_numpy(), rows["place"].to_numpy()
    return Codes(features, places, np.bincount(features, minlength=index.n_features))


def check_same_text(a: Index, b: Index) -> None:
    """Raise StoreError unless two indexes were made from the same contexts, so that places mean the same."""
    sql = "SELECT count(*), bit_xor(hash(context, tokens)), sum(hash(context, tokens)::HUGEINT) FROM {}"
    if a.context_length != b.context_length or a.rows(sql.format(a.table("context"))) != b.rows(
        sql.format(b.table("context"))
    ):
        raise StoreError(
            f"{a.id} and {b.id} were made from different text; run `saebench index` on both with the same corpus"
        )


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


def fire_together(a: Index, feature_a: int, b: Index, feature_b: int) -> tuple[int, int]:
    """(on how many tokens both features are active, on how many either is), of two indexes of the same text."""
    sql = "SELECT context::BIGINT * {length} + position AS place FROM {table} WHERE feature = {feature}"
    of_a, of_b = (
        sql.format(length=a.context_length, table=index.table("activation"), feature=int(feature))
        for index, feature in ((a, feature_a), (b, feature_b))
    )
    count = "(SELECT count(*) FROM ({}))"
    parts = (f"FROM ({of_a}) SEMI JOIN ({of_b}) USING (place)", of_a, of_b)
    ((both, n_a, n_b),) = a.rows(f"SELECT {', '.join(count.format(part) for part in parts)}")
    return both, n_a + n_b - both
