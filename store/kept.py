"""The small tables of an index, a stretch of features at a time, kept in memory.

A feature's page reads a few rows of half a dozen tables. DuckDB finds them in a millisecond each, most of it planning;
a stretch of features is read at once in some milliseconds and answers from memory afterwards. The stretches kept are
bounded, so an SAE of a million features costs no more than one of a hundred thousand.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

KEPT = 256
"""Stretches kept, of all tables together; 1 to 2 MB each."""


class Kind(NamedTuple):
    """Rows of a table that are kept, in which order, of how many features together."""

    table: str
    order: str = "feature"
    where: str = "true"
    stretch: int = 4096


KINDS = {
    "feature": Kind("feature"),
    "histogram": Kind("histogram"),
    "logit_histogram": Kind("logit_histogram"),
    "logit": Kind("logit", "feature, sign, rank"),
    "neighbour": Kind("neighbour", "feature, rank"),
    "head": Kind("head", "feature, share DESC, head"),
    "strongest": Kind("example", "feature, rank", "band = 0", 256),
}


class KeptTables:
    """Rows of small tables by feature. Safe to share between threads: a stretch may at worst be read twice."""

    def __init__(self, read: Callable[[str], pa.Table], name: Callable[[str], str]) -> None:
        """Use `read` to fetch an SQL query and `name` for the SQL name of a table."""
        self._read, self._name = read, name
        self._stretch = lru_cache(maxsize=KEPT)(self._fetch)

    def rows(self, kind: str, feature: int) -> pa.RecordBatch:
        """A feature's rows of one of `KINDS`."""
        stretch, within = divmod(feature, KINDS[kind].stretch)
        found, starts = self._stretch(kind, stretch)
        return found.slice(starts[within], starts[within + 1] - starts[within])

    def value(self, kind: str, feature: int, column: str) -> Any:
        """One value of a feature's only row."""
        stretch, within = divmod(feature, KINDS[kind].stretch)
        found, starts = self._stretch(kind, stretch)
        return found[column][starts[within]].as_py()

    def _fetch(self, kind: str, number: int) -> tuple[pa.RecordBatch, list[int]]:
        """A stretch in one piece, and where each of its features begins (as a slice wants it: plain numbers)."""
        table, order, where, stretch = KINDS[kind]
        low = number * stretch
        sql = f"FROM {self._name(table)} WHERE feature BETWEEN {low} AND {low + stretch - 1} AND {where}"
        rows = self._read(f"{sql} ORDER BY {order}").combine_chunks()
        batches = rows.to_batches()
        found = batches[0] if batches else pa.RecordBatch.from_pylist([], rows.schema)
        features: NDArray[np.int64] = found["feature"].to_numpy().astype(np.int64)
        return found, np.searchsorted(features, np.arange(low, low + stretch + 1)).tolist()
