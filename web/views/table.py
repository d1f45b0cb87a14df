"""The table of features: filter, order, page; and what is wrong with a filter, at the word that is wrong."""

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from store import StoreError
from web.models.saes import FeatureList, FeatureRow
from web.workspace import DEFAULT_ORDER, Workspace

PRESETS = [
    ("all", None),
    ("rare", "density > 0 and density < 1e-4"),
    ("dense", "density > 0.1"),
    ("dead", "n_active = 0"),
    ("one token", "top_token_share > 0.9"),
]
"""Filters worth a link: (name, filter)."""

_DOWN_FIRST = {"density", "max_activation", "mean", "documents_share", "encoder_decoder_cosine"}
_COLUMNS = [
    ("feature", "feature", "its number", False, False),
    ("density", "density", "share of tokens it fires on", True, False),
    ("max_activation", "max", "largest activation", True, False),
    ("mean", "mean", "mean activation where it fires", True, True),
    ("documents_share", "documents", "share of documents it fires in", True, True),
    ("encoder_decoder_cosine", "enc·dec", "cosine between encoder and decoder direction", True, True),
    ("top_token", "peak token", "token it fires on most", False, True),
    (None, "promotes", "", False, False),
]
"""(column, title, hint, is a number, only on wide screens)"""


@dataclass(frozen=True)
class TableQuery:
    """Which part of the features is asked for."""

    filter: str
    order: str
    page: int
    size: int


@dataclass(frozen=True)
class FilterProblem:
    """A filter that cannot be read, cut around the word that is wrong."""

    before: str
    word: str
    after: str
    message: str


@dataclass(frozen=True)
class Column:
    """One column's head: how it is sorted now and what a click on it asks for."""

    title: str
    hint: str
    number: bool
    wide: bool
    sorted: str
    order: str


@dataclass(frozen=True)
class Table:
    """One page of features."""

    filter: str
    order: str
    page: int
    size: int
    total: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    problem: FilterProblem | None = None
    filterable: list[str] = field(default_factory=list)

    @classmethod
    def empty(cls, query: TableQuery) -> "Table":
        """The table of an SAE without an index."""
        return cls(query.filter, query.order, query.page, query.size)

    @property
    def first(self) -> int:
        """Number of the first row, from 1."""
        return (self.page - 1) * self.size + 1

    @property
    def last(self) -> int:
        """Number of the last row."""
        return self.first + len(self.rows) - 1

    @property
    def columns(self) -> list[Column]:
        """Heads of the columns; a click sorts, a second click turns the order round."""
        name, _, direction = (self.order or DEFAULT_ORDER).partition(" ")
        down = direction.strip().lower() == "desc"
        out = []
        for column, title, hint, is_number, wide in _COLUMNS:
            is_sorted = column is not None and column == name
            turned = not down if is_sorted else column in _DOWN_FIRST
            order = "" if column is None else f"{column} desc" if turned else column
            shown = ("descending" if down else "ascending") if is_sorted else ""
            out.append(Column(title, hint, is_number, wide, shown, order))
        return out

    def as_list(self, sae_id: str, corpus: str) -> FeatureList:
        """As data."""
        rows = [FeatureRow.model_validate(row) for row in self.rows]
        return FeatureList(
            sae=sae_id, corpus=corpus, filter=self.filter, order=self.order or DEFAULT_ORDER, page=self.page,
            size=self.size, total=self.total, columns=self.filterable, rows=rows,
        )  # fmt: skip


def feature_table(here: Workspace, sae_id: str, corpus: str, query: TableQuery) -> Table:
    """One page of the features that a filter keeps; a filter that cannot be read comes back as the table's problem."""
    columns = list(here.store.features(sae_id, corpus).columns)
    try:
        relation = here.selection(sae_id, corpus, query.filter, query.order)
        total = relation.count()
        rows = relation.limit(query.size).offset((query.page - 1) * query.size).rows()
    except StoreError as error:
        problem = explain(query, str(error))
        return Table(query.filter, query.order, query.page, query.size, problem=problem, filterable=columns)
    for row in rows:
        row["bar"] = bar(row["density"])
    return Table(query.filter, query.order, query.page, query.size, total, rows, None, columns)


def explain(query: TableQuery, message: str) -> FilterProblem:
    """Find the word that a store error quotes in what was typed."""
    typed = query.filter or query.order
    message = re.sub(r"^(filter|order) ['\"].*?['\"]: (?=\S)", "", message.replace(repr(typed), "'…'"))
    message = message[:1].upper() + message[1:]
    for word in re.findall(r"['\"]([^'\"]+)['\"]", message):
        at = typed.lower().find(word.lower())
        if at >= 0 and word != typed:
            return FilterProblem(typed[:at], typed[at : at + len(word)], typed[at + len(word) :], message)
    return FilterProblem("", typed, "", message)


def bar(density: float) -> float:
    """Length of the density bar (0–48) on a log scale from 1e-5 to 1."""
    if density <= 0:
        return 0.0
    return round(48 * float(np.clip(1 + np.log10(density) / 5, 0.04, 1)), 1)
