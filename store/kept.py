"""The small tables of an index, a stretch of features at a time, kept in memory.

A feature's page reads a few rows of half a dozen tables. DuckDB finds them in a millisecond each, most of it planning;
a stretch of 4,096 features is read at once in ten milliseconds and answers from memory afterwards. The stretches kept
are bounded, so an SAE of a million features costs no more than one of a hundred thousand.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

STRETCH = 4096
"""Features read together."""
KEPT = 256
"""Stretches kept, of all tables together; some 2 MB each."""

_ORDER = {"logit": "feature, sign, rank", "neighbour": "feature, rank", "head": "feature, share DESC, head"}
"""Tables with several rows of a feature, and the order they are read in; the others have one."""


class KeptTables:
    """Rows of small tables by feature. Safe to share between threads: a stretch may at worst be read twice."""

    def __init__(self, read: Callable[[str], pa.Table], name: Callable[[str], str]) -> None:
        """Use `read` to fetch an SQL query and `name` for the SQL name of a table."""
        self._read, self._name = read, name
        self._stretch = lru_cache(maxsize=KEPT)(self._fetch)

    def rows(self, table: str, feature: int) -> pa.Table:
        """A feature's rows of a table."""
        stretch, within = divmod(feature, STRETCH)
        found, starts = self._stretch(table, stretch)
        return found.slice(starts[within], starts[within + 1] - starts[within])

    def _fetch(self, table: str, stretch: int) -> tuple[pa.Table, list[int]]:
        """A stretch in one piece, and where each of its features begins (as a slice wants it: plain numbers)."""
        low = stretch * STRETCH
        sql = f"FROM {self._name(table)} WHERE feature BETWEEN {low} AND {low + STRETCH - 1} "
        found = self._read(sql + f"ORDER BY {_ORDER.get(table, 'feature')}").combine_chunks()
        features: NDArray[np.int64] = found["feature"].to_numpy().astype(np.int64)
        return found, np.searchsorted(features, np.arange(low, low + STRETCH + 1)).tolist()
