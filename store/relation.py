"""Lazy results: nothing is read before rows are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb
import pyarrow as pa

from store.errors import StoreError
from store.export import CSV, PARQUET, write_rows
from store.expressions import check_filter, check_order, explain, unknown_column
from store.reading import quoted

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

T = TypeVar("T")
Cursor = Callable[[], duckdb.DuckDBPyConnection]
_PREVIEW = 10


@dataclass(frozen=True)
class Relation:
    """A query that can be narrowed and sorted, then fetched as rows, pandas, Arrow or polars.

    Every method returns a new relation; each fetch runs on a cursor of its own, so relations can be shared by threads.
    """

    _cursor: Cursor
    _source: str
    _title: str
    columns: tuple[str, ...]
    _selected: tuple[str, ...] = ()
    _filters: tuple[str, ...] = ()
    _order: str = ""
    _limit: int | None = None
    _offset: int = 0

    def filter(self, condition: str) -> Relation:
        """Keep the rows for which an SQL condition over the columns holds; several filters must all hold.

        Raises:
            StoreError: a column that does not exist (names it and the nearest one), bad syntax, or more than one
                expression.
        """
        self._unbounded("filter")
        cursor = self._cursor()
        check_filter(cursor, condition, self.columns)
        narrowed = replace(self, _filters=(*self._filters, condition))
        _bind(cursor, narrowed._sql("1"), f"filter {condition!r}")
        return narrowed

    def order(self, by: str) -> Relation:
        """Sort, for instance by "max_activation DESC, feature"; rows that tie keep no particular order.

        Raises:
            StoreError: as for `filter`.
        """
        self._unbounded("order")
        cursor = self._cursor()
        check_order(cursor, by, self.columns)
        ordered = replace(self, _order=by)
        _bind(cursor, ordered._sql("1"), f"order {by!r}")
        return ordered

    def select(self, *columns: str) -> Relation:
        """Fetch only these columns, in this order."""
        for column in columns:
            if column not in self.columns:
                raise unknown_column(column, self.columns, "select")
        return replace(self, _selected=columns)

    def limit(self, n: int) -> Relation:
        """At most n rows."""
        return replace(self, _limit=_natural(n, "limit"))

    def offset(self, n: int) -> Relation:
        """Skip the first n rows."""
        return replace(self, _offset=_natural(n, "offset"))

    def count(self) -> int:
        """How many rows there are, limit and offset included."""
        return int(self._fetch(f"SELECT count(*) FROM ({self._sql('1')})", lambda result: result.fetchall())[0][0])

    def rows(self) -> list[dict[str, Any]]:
        """The rows as dicts."""
        names, rows = self._fetch(self._sql(), lambda result: (result.columns, result.fetchall()))
        return [dict(zip(names, row, strict=True)) for row in rows]

    def arrow(self) -> pa.Table:
        """The rows as a pyarrow Table."""
        return self._fetch(self._sql(), lambda result: result.to_arrow_table())

    def df(self) -> pd.DataFrame:
        """The rows as a pandas DataFrame."""
        return self._fetch(self._sql(), lambda result: result.df())

    def pl(self) -> pl.DataFrame:
        """The rows as a polars DataFrame."""
        import polars

        frame = polars.from_arrow(self.arrow())
        assert isinstance(frame, polars.DataFrame)
        return frame

    def to_parquet(self, path: str | Path) -> Path:
        """Write the rows to a Parquet file, replacing one of that name; the whole file or none. Returns the path.

        Raises:
            StoreError: the file cannot be written; one that was there before is still there.
        """
        return write_rows(self._cursor(), self._sql(), Path(path), PARQUET, self._title)

    def to_csv(self, path: str | Path) -> Path:
        """Write the rows to a CSV file (UTF-8, with a header; NULL is empty, lists read [a, b], bytes that are no
        ASCII \\xE2), replacing one of that name; the whole file or none. Returns the path.

        Raises:
            StoreError: the file cannot be written; one that was there before is still there.
        """
        return write_rows(self._cursor(), self._sql(), Path(path), CSV, self._title)

    def __len__(self) -> int:
        return self.count()

    def __repr__(self) -> str:
        shown = ", ".join(self._selected or self.columns)
        return f"<{self._title}: {self.count():,} rows of ({shown})>"

    def _repr_html_(self) -> str:
        first = replace(self, _limit=min(_PREVIEW, self._limit if self._limit is not None else _PREVIEW))
        return f"<p>{escape(self._title)}: {self.count():,} rows</p>{first.df().to_html(index=False)}"

    def _unbounded(self, what: str) -> None:
        if self._limit is not None or self._offset:
            raise StoreError(f"{what}() must come before limit() and offset()")

    def _sql(self, selected: str = "") -> str:
        names = selected or ", ".join(quoted(column) for column in self._selected or self.columns)
        sql = f"SELECT {names} FROM (\n{self._source}\n) AS source"
        if self._filters:
            sql += " WHERE " + " AND ".join(f"(\n{condition}\n)" for condition in self._filters)
        if self._order:
            sql += f" ORDER BY\n{self._order}\n"
        if self._limit is not None:
            sql += f" LIMIT {self._limit}"
        return sql + (f" OFFSET {self._offset}" if self._offset else "")

    def _fetch(self, sql: str, take: Callable[[duckdb.DuckDBPyRelation], T]) -> T:
        try:
            return take(self._cursor().sql(sql))
        except duckdb.Error as error:
            raise explain(error, self._title) from None


def _bind(cursor: duckdb.DuckDBPyConnection, sql: str, text: str) -> None:
    try:
        cursor.execute(f"EXPLAIN {sql}").fetchall()
    except duckdb.Error as error:
        raise explain(error, text) from None


def _natural(n: int, what: str) -> int:
    if isinstance(n, bool) or not isinstance(n, int) or n < 0:
        raise StoreError(f"{what} must be a whole number of rows, not {n!r}")
    return n


def relation(cursor: Cursor, source: str, title: str, columns: Sequence[str] | None = None) -> Relation:
    """A relation over an SQL query.

    Raises:
        StoreError: the query is wrong; in one line.
    """
    if columns is None:
        try:
            described = cursor().execute(f"DESCRIBE SELECT * FROM (\n{source}\n)").fetchall()
        except duckdb.Error as error:
            raise explain(error, title) from None
        columns = [row[0] for row in described]
    return Relation(cursor, source, title, tuple(columns))
