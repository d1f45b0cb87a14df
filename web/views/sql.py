"""The SQL box: a query, its rows, and what it can ask."""

import csv
import io
import json
from dataclasses import dataclass, field
from typing import Any

from store.sandbox import QueryError, ask
from web.errors import ProblemError
from web.models.sql import Column, SqlAnswer, SqlTable
from web.workspace import Workspace

ROWS, CSV_ROWS = 1_000, 100_000
LONGEST_CELL = 200

EXAMPLES = (
    ("features that fire on one token only", "SELECT feature, top_token, top_token_share, density\nFROM feature\n"
     "WHERE top_token_share > 0.9 AND n_active > 100\nORDER BY density DESC LIMIT 50"),
    ("how many features per decade of density", "SELECT floor(log10(density)) AS decade, count(*) AS features\n"
     "FROM feature WHERE density > 0\nGROUP BY ALL ORDER BY decade"),
    ("which documents have the most active features", "SELECT d.name, count(DISTINCT c.feature) AS features\n"
     "FROM code c JOIN segment s USING (context) JOIN document d USING (document)\n"
     "GROUP BY ALL ORDER BY features DESC LIMIT 20"),
    ("labels beside what the features promote", "SELECT sae, feature, label, promoted[1:5] AS promotes\n"
     "FROM memory.label JOIN feature USING (feature)"),
    ("best explanations", "SELECT feature, text, score FROM memory.explanation\n"
     "WHERE score IS NOT NULL ORDER BY score DESC LIMIT 50"),
    ("nearest pairs of features", "SELECT feature, neighbour, cosine FROM neighbour\n"
     "WHERE rank = 0 AND feature < neighbour ORDER BY cosine DESC LIMIT 50"),
)  # fmt: skip
"""(what it asks, the query)"""


@dataclass(frozen=True)
class SqlProblem:
    """A query that cannot be answered, cut around the word that is wrong."""

    before: str
    word: str
    after: str
    message: str


@dataclass(frozen=True)
class SqlView:
    """The page."""

    query: str
    sae: str | None
    saes: list[str]
    tables: list[SqlTable]
    answer: SqlAnswer | None = None
    problem: SqlProblem | None = None
    links: list[tuple[str, int] | None] = field(default_factory=list)
    """Of each row: the feature that it is about, if it says which."""


def sql_view(here: Workspace, query: str, sae: str | None) -> SqlView:
    """The page for a query, or for none yet."""
    saes = _saes(here)
    chosen = sae or next(iter(saes), None)
    tables = [
        SqlTable(name=name, columns=[Column(name=column, type=kind) for column, kind in columns])
        for name, columns in here.store.columns().items()
    ]
    if not query:
        return SqlView(query, chosen, saes, tables)
    try:
        answer = _ask(here, query, chosen, ROWS)
    except QueryError as error:
        return SqlView(query, chosen, saes, tables, problem=_problem(query, error))
    return SqlView(query, chosen, saes, tables, answer, links=_links(answer, saes))


def sql_answer(here: Workspace, query: str, sae: str | None, rows: int) -> SqlAnswer:
    """The rows as data. Raises ProblemError 422."""
    if not query.strip():
        raise ProblemError(422, "Nothing asked", "The query is empty.", "Try q=FROM feature LIMIT 10.")
    try:
        return _ask(here, query, sae or next(iter(_saes(here)), None), rows)
    except QueryError as error:
        raise ProblemError(422, "The query cannot be answered", f"{error}.") from None


def sql_csv(answer: SqlAnswer) -> str:
    """The rows as CSV; lists and structs as JSON, NULL empty."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(column.name for column in answer.columns)
    writer.writerows([shown(value) for value in row] for row in answer.rows)
    return out.getvalue()


def shown(value: Any) -> str:
    """A value as text in a cell; NULL is empty."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def cell(value: Any) -> str:
    """A value as the page shows it."""
    text = f"{value:.6g}" if isinstance(value, float) else shown(value)
    return text if len(text) <= LONGEST_CELL else text[:LONGEST_CELL] + "…"


def _ask(here: Workspace, query: str, sae: str | None, rows: int) -> SqlAnswer:
    found = ask(here.store, query, sae, rows=rows)
    columns = [Column(name=name, type=kind) for name, kind in found.columns]
    return SqlAnswer(query=query, sae=sae, columns=columns, rows=found.rows, more=found.more)


def _saes(here: Workspace) -> list[str]:
    return list(dict.fromkeys(index["sae_id"] for index in here.store.indexes()))


def _problem(query: str, error: QueryError) -> SqlProblem:
    """Cut the query around the word at which it is wrong."""
    at = error.position
    message = str(error)[:1].upper() + str(error)[1:]
    if at is None or at > len(query):
        return SqlProblem(query, "", "", message)
    end = at + 1
    while end < len(query) and (query[end].isalnum() or query[end] in "_."):
        end += 1
    return SqlProblem(query[:at], query[at:end], query[end:], message)


def _links(answer: SqlAnswer, saes: list[str]) -> list[tuple[str, int] | None]:
    names = [column.name for column in answer.columns]
    if "feature" not in names:
        return [None] * len(answer.rows)
    at = names.index("feature")
    own = names.index("sae") if "sae" in names else None
    of = [answer.sae if own is None else row[own] for row in answer.rows]
    return [
        (sae, row[at]) if sae in saes and type(row[at]) is int and row[at] >= 0 else None
        for sae, row in zip(of, answer.rows, strict=True)
    ]
