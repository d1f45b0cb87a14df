"""What is said of features, in memory: read from a reader's own copy of the catalogue (see `store.mirror`).

A page asks for it every time, and planning a query over four small tables takes longer than all else on the page. So an
SAE's labels, notes and lists are read once after each change of the catalogue, its explanations, which may be as many
as its features, only after a change of theirs.
"""

import threading
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, NamedTuple

from store.annotations import Explanation, Label, Note
from store.mirror import Mirror
from store.reading import literal
from store.relation import Cursor


class Said(NamedTuple):
    """What a feature is called: its label or, without one, the best explanation."""

    text: str
    score: float | None
    """Of the explanation, if anybody gave it one."""
    labelled: bool


@dataclass(frozen=True)
class Remarks:
    """Everything said of one feature: its label, notes (oldest first), explanations (best score first), and the lists
    it is on.
    """

    label: Label | None = None
    notes: list[Note] = field(default_factory=list)
    explanations: list[Explanation] = field(default_factory=list)
    lists: list[str] = field(default_factory=list)

    @property
    def said(self) -> Said | None:
        """What the feature is called, if anything."""
        if self.label is not None:
            return Said(self.label.text, None, True)
        return Said(self.explanations[0].text, self.explanations[0].score, False) if self.explanations else None


@dataclass(frozen=True)
class Board:
    """What is said of the features of one SAE, by feature.

    Attributes:
        version: of the copy of the catalogue; stamp: of the explanations.
        labels, notes, lists, explanations: rows as the queries of `Boards` give them.
    """

    version: int
    stamp: object
    labels: dict[int, list[tuple]]
    notes: dict[int, list[tuple]]
    lists: dict[int, list[tuple]]
    explanations: dict[int, list[tuple]]


class Boards:
    """The boards of all SAEs; safe to share between threads."""

    def __init__(self, cursor: Cursor, mirror: Mirror) -> None:
        self._cursor, self._mirror = cursor, mirror
        self._lock = threading.Lock()
        self._boards: dict[str, Board] = {}
        self._names: tuple[int, list[str]] = (-1, [])

    def remarks(self, sae: str, feature: int) -> Remarks:
        """Everything said of a feature."""
        board = self._board(sae)
        labels, notes, explanations = (
            rows.get(feature, ()) for rows in (board.labels, board.notes, board.explanations)
        )
        return Remarks(
            label=next((Label(sae, feature, text, by, at.replace(tzinfo=UTC)) for text, by, at in labels), None),
            notes=[Note(sae, feature, text, by, at.replace(tzinfo=UTC)) for text, by, at in notes],
            explanations=[
                Explanation(sae, corpus, feature, method, version, text, score, scorer, split, at.replace(tzinfo=UTC))
                for text, score, corpus, method, version, scorer, split, at in explanations
            ],
            lists=[name for (name,) in board.lists.get(feature, ())],
        )

    def said(self, sae: str, features: Collection[int]) -> dict[int, Said]:
        """What those of the features that have a name are called, by feature."""
        board = self._board(sae)
        best = {f: board.explanations[f][0] for f in features if f in board.explanations}
        explained = {f: Said(text, score, False) for f, (text, score, *_) in best.items()}
        labelled = {f: Said(board.labels[f][0][0], None, True) for f in features if f in board.labels}
        return explained | labelled

    def list_names(self) -> list[str]:
        """The names of all lists, sorted."""
        self._mirror.refresh()
        version = self._mirror.version
        with self._lock:
            if self._names[0] != version:
                rows = self._cursor().execute("SELECT list FROM memory.main.feature_list ORDER BY list").fetchall()
                self._names = version, [name for (name,) in rows]
            return self._names[1]

    def _board(self, sae: str) -> Board:
        self._mirror.refresh()
        version, stamp = self._mirror.version, self._mirror.explained.get(sae)
        with self._lock:
            known = self._boards.get(sae)
            if known is None or known.version != version:
                kept = known is not None and known.stamp == stamp
                self._boards[sae] = known = Board(
                    version,
                    stamp,
                    self._by_feature("label", sae, "label, author, made_at", "made_at"),
                    self._by_feature("note", sae, "note, author, made_at", "made_at, rowid"),
                    self._by_feature("listed", sae, "list", "list"),
                    known.explanations if known is not None and kept else self._explanations(sae),
                )
            return known

    def _explanations(self, sae: str) -> dict[int, list[tuple]]:
        columns = "text, score, corpus, method, version, scorer, split, made_at"
        return self._by_feature("explanation", sae, columns, "score DESC NULLS LAST, text")

    def _by_feature(self, table: str, sae: str, columns: str, order: str) -> dict[int, list[tuple]]:
        rows: list[tuple[Any, ...]] = (
            self._cursor()
            .execute(f"SELECT feature, {columns} FROM memory.main.{table} WHERE sae = {literal(sae)} ORDER BY {order}")
            .fetchall()
        )
        found: dict[int, list[tuple]] = {}
        for feature, *row in rows:
            found.setdefault(feature, []).append(tuple(row))
        return found


def everything_said(sae: str) -> str:
    """The query for all that features of an SAE are called: feature, said, score, own (a person's label)."""
    return f"""SELECT feature, label AS said, NULL::DOUBLE AS score, true AS own FROM memory.main.label
               WHERE sae = {literal(sae)}
               UNION ALL
               SELECT feature, text, score, false FROM memory.main.explanation WHERE sae = {literal(sae)}"""
