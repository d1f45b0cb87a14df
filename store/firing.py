"""How often features fire, and how strongly, in the whole of an index or in some of its documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from store.errors import StoreError
from store.index import Index
from store.reading import quoted


@dataclass(frozen=True)
class Firings:
    """Sums over tokens, by feature.

    Attributes:
        n_tokens: ordinary tokens that were counted; special ones have no codes.
        counts: int64[M], on how many of them each feature is active.
        squares: float64[M], sums of its squared activations; None where only firings were counted, which is faster.
    """

    n_tokens: int
    counts: NDArray[np.int64]
    squares: NDArray[np.float64] | None = None

    @property
    def densities(self) -> NDArray[np.float64]:
        """Share of the tokens on which each feature is active."""
        return self.counts / max(self.n_tokens, 1)

    @property
    def mean_squares(self) -> NDArray[np.float64]:
        """Mean squared activation over all tokens, also those on which a feature is silent.

        Raises:
            StoreError: only firings were counted.
        """
        if self.squares is None:
            raise StoreError("these counts have no squared activations; count with squares=True")
        return self.squares / max(self.n_tokens, 1)


def firings_of(index: Index, documents: Sequence[str] | None, without: Sequence[str], squares: bool) -> Firings:
    """Count in the documents whose name fits a pattern of `documents` (None: all) and none of `without`.

    Raises:
        StoreError: no document is left.
    """
    numbers = [
        number
        for number, name in enumerate(index.documents)
        if (documents is None or _fits(name, documents)) and not _fits(name, without)
    ]
    if not numbers:
        wanted = "all documents" if documents is None else ", ".join(documents)
        but = f" without {', '.join(without)}" if without else ""
        near = ", ".join(index.documents[:3])
        raise StoreError(f"{index.id} has no document for {wanted}{but}; its documents are like {near}")
    whole = len(numbers) == len(index.documents)
    parts = None if whole else parts_of(index, np.array(numbers))
    cursor = index.cursor()
    if parts is not None:
        cursor.register("part", parts)
    value = f"{quoted(index.alias)}.f16(half)::DOUBLE"
    asked = f", sum({value} * {value}) AS squares" if squares else ""
    source = index.table("by_feature") if whole else _codes_in(index)
    found = cursor.execute(f"SELECT feature, count(*) AS n{asked} FROM {source} GROUP BY feature").fetchnumpy()
    counts = np.zeros(index.n_features, np.int64)
    counts[found["feature"]] = found["n"]
    sums = None
    if squares:
        sums = np.zeros(index.n_features)
        sums[found["feature"]] = found["squares"]
    return Firings(_tokens(index, parts), counts, sums)


def parts_of(index: Index, documents: NDArray[np.integer]) -> pa.Table:
    """Where some documents are: `context`, `first` and `last` position of each run of theirs."""
    begins, owners, _ = index._segments
    ends = np.append(begins[1:], index.n_places)
    ends = np.minimum(ends, (begins // index.context_length + 1) * index.context_length)
    mine = np.isin(owners, documents)
    begins, ends = begins[mine], ends[mine]
    context = begins // index.context_length
    return pa.table(
        {
            "context": context.astype(np.int32),
            "first": (begins - context * index.context_length).astype(np.int32),
            "last": (ends - 1 - context * index.context_length).astype(np.int32),
        }
    )


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _codes_in(index: Index) -> str:
    """Codes of the places in `part`, as a table expression."""
    position = f"(key % {index.context_length})::INTEGER"
    feature = f"(key // {index.context_length} - context::BIGINT * {index.n_features})::INTEGER"
    return f"""(SELECT {feature} AS feature, half FROM {index.table("by_context")} JOIN part USING (context)
                WHERE {position} BETWEEN first AND last)"""


def _tokens(index: Index, parts: pa.Table | None) -> int:
    """Ordinary tokens of the parts, or of the index."""
    if parts is None:
        return int(index.meta["n_tokens"])
    cursor = index.cursor()
    cursor.register("part", parts)
    sql = f"""SELECT sum(len(list_filter(spans[first + 1 : last + 1], lambda span: span >= 0)))
              FROM part JOIN {index.table("context")} USING (context)"""
    return int(cursor.execute(sql).fetchall()[0][0] or 0)
