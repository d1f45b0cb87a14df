"""The table of features: which part of which list, its rows, its columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from store import StoreError
from store.names import NAMES, full_names
from web.models.saes import FeatureList, FeatureRow
from web.search import asked, conditions
from web.urls import urls
from web.views.columns import CHOICE, Column, Head, chosen, heads, toggled
from web.views.problem import TypedProblem, explain
from web.workspace import DEFAULT_ORDER, Row, Workspace

WINDOW = 48
"""Rows that are fetched at once; the browser holds three windows."""


@dataclass(frozen=True)
class TableQuery:
    """Which part of which list is asked for, and which of its columns."""

    filter: str = ""
    order: str = ""
    search: str = ""
    columns: str = ""
    start: int = 0
    """Rows before the first one asked for."""
    size: int = WINDOW

    def link(self, corpus: str | None, **changed: str | int | None) -> dict[str, str | int | None]:
        """What an address says of the list: without a place in it, unless that is among what is `changed`."""
        said = {"filter": self.filter, "order": self.order, "search": self.search, "columns": self.columns}
        return {**said, "corpus": corpus, **changed}


@dataclass(frozen=True)
class Table:
    """A window of a list of features."""

    query: TableQuery
    columns: list[Column]
    start: int = 0
    total: int = 0
    rows: Sequence[dict[str, Any]] = ()
    problem: TypedProblem | None = None
    at: str = ""
    """What the problem is with: filter, order or search."""

    @property
    def stop(self) -> int:
        """Rows up to the last one here."""
        return self.start + len(self.rows)

    @property
    def heads(self) -> list[Head]:
        """The columns' heads."""
        order = self.query.order or ("" if self.query.search else DEFAULT_ORDER)
        return heads(self.columns, full_names(order))

    @property
    def by_number(self) -> str:
        """How the features' numbers are sorted, if it is by them that the list is."""
        name, _, direction = full_names(self.query.order).strip().lower().partition(" ")
        if name != "feature":
            return ""
        return "descending" if direction.strip().startswith("desc") else "ascending"

    @property
    def anything_said(self) -> bool:
        """Whether a row here has a label or an explanation."""
        return any(row["said"] for row in self.rows)

    @property
    def words(self) -> str:
        """The words searched for in what people say."""
        return str(conditions(self.query.search).get("text", "")) if self.query.search else ""

    @property
    def instead(self) -> list[str]:
        """Searches for the word as a token, alone and behind a blank."""
        if not self.words or " " in self.words:
            return []
        return [asked(kind, blank + self.words) for kind in ("fires", "promotes") for blank in (" ", "")]

    def without_or_with(self, column: Column) -> str:
        """What an address names to show or hide a column."""
        return toggled(self.columns, column)

    @property
    def choice(self) -> tuple[Column, ...]:
        """Columns that can be shown."""
        return CHOICE

    def as_list(self, sae_id: str, corpus: str) -> FeatureList:
        """As data."""
        query = self.query
        return FeatureList(
            sae=sae_id, corpus=corpus, filter=query.filter, order=query.order, search=query.search, start=self.start,
            size=query.size, total=self.total, columns={name.column: name.meaning for name in NAMES},
            rows=[FeatureRow.model_validate(row) for row in self.rows],
        )  # fmt: skip


def feature_table(here: Workspace, index: Row, query: TableQuery, *, aligned: bool = True) -> Table:
    """The rows asked for; what cannot be read comes back as the table's problem.

    Args:
        here: the workspace.
        index: whose features.
        query: which of them.
        aligned: the window begins at a multiple of its size, so that windows never overlap.
    """
    try:
        searched = conditions(query.search) if query.search else {}
        columns = chosen(query.columns, list(searched))
        found = here.found(index, query.filter, query.order, query.search)
    except StoreError as error:
        at, typed = blamed(here, index, query)
        return Table(query, chosen(query.columns, ()), problem=explain(typed, str(error)), at=at)
    total = len(found)
    last = max(total - 1, 0)
    start = min(query.start, last) // query.size * query.size if aligned else query.start
    window = found.slice(start, query.size)
    return Table(query, columns, start, total, rows(here, index, window.to_pylist()))


def blamed(here: Workspace, index: Row, query: TableQuery) -> tuple[str, str]:
    """(which, what was typed) of the part of the query that cannot be read: the filter, the order or the search."""
    for name, alone in (("filter", TableQuery(filter=query.filter)), ("order", TableQuery(order=query.order))):
        try:
            here.found(index, alone.filter, alone.order)
        except StoreError:
            return name, getattr(query, name)
    return "search", query.search


def rows(here: Workspace, index: Row, found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Everything a row shows of the features found, what they were found by included."""
    numbers = [row["feature"] for row in found]
    known = here.features(index).take(np.array(numbers, np.int64)).to_pylist()
    said = here.store.said(index["sae_id"], numbers)
    for row, more in zip(known, found, strict=True):
        text, score, labelled = said.get(row["feature"], (None, None, False))
        row.update(said=text, score=score, explanation_score=score, labelled=labelled, bar=bar(row["density"]))
        row.update(more)
    return known


def row_links(sae_id: str, query: TableQuery, corpus: str | None) -> str:
    """A feature's address with `{feature}` left open; it carries the list, so that arrow keys walk it."""
    listed = {"filter": query.filter, "order": query.order, "search": query.search, "corpus": corpus}
    return urls.feature_pattern(sae_id, **listed)


def bar(density: float) -> float:
    """Length of the density bar (0–48) on a log scale from 1e-5 to 1."""
    if density <= 0:
        return 0.0
    return round(48 * float(np.clip(1 + np.log10(density) / 5, 0.04, 1)), 1)
