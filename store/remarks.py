"""What is said of features, read from a reader's own copy of the catalogue (see `store.mirror`)."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC
from typing import NamedTuple

import duckdb

from store.annotations import Explanation, Label, Note
from store.reading import literal


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


def everything_said(sae: str) -> str:
    """The query for all that features of an SAE are called: feature, said, score, own (a person's label)."""
    return f"""SELECT feature, label AS said, NULL::DOUBLE AS score, true AS own FROM memory.main.label
               WHERE sae = {literal(sae)}
               UNION ALL
               SELECT feature, text, score, false FROM memory.main.explanation WHERE sae = {literal(sae)}"""


def said_of(cursor: duckdb.DuckDBPyConnection, sae: str, features: Collection[int]) -> dict[int, Said]:
    """What those of the features that have a name are called, by feature."""
    if not features:
        return {}
    wanted = ", ".join(str(int(feature)) for feature in features)
    best = "ORDER BY own DESC, score DESC NULLS LAST, said"
    rows = cursor.execute(f"""SELECT feature, first(said {best}), first(score {best}), bool_or(own)
                              FROM ({everything_said(sae)}) WHERE feature IN ({wanted}) GROUP BY feature""").fetchall()
    return {feature: Said(text, None if own else score, own) for feature, text, score, own in rows}


def remarks_on(cursor: duckdb.DuckDBPyConnection, sae: str, feature: int) -> Remarks:
    """Everything said of a feature."""
    this = f"sae = {literal(sae)} AND feature = {feature:d}"
    rows = cursor.execute(f"""
        SELECT 'label' AS kind, label AS text, author, made_at FROM memory.main.label WHERE {this}
        UNION ALL BY NAME SELECT 'note' AS kind, note AS text, author, made_at FROM memory.main.note WHERE {this}
        UNION ALL BY NAME SELECT 'list' AS kind, list AS text, author, made_at FROM memory.main.listed WHERE {this}
        UNION ALL BY NAME SELECT 'explanation' AS kind, text, made_at, corpus, method, version, score, scorer, split
                          FROM memory.main.explanation WHERE {this}
        ORDER BY kind, score DESC NULLS LAST, made_at, text""").fetchall()
    found: dict[str, list[tuple]] = {"label": [], "note": [], "list": [], "explanation": []}
    for kind, *row in rows:
        found[kind].append(tuple(row))
    labels = [Label(sae, feature, text, author, at.replace(tzinfo=UTC)) for text, author, at, *_ in found["label"]]
    return Remarks(
        label=labels[0] if labels else None,
        notes=[Note(sae, feature, text, author, at.replace(tzinfo=UTC)) for text, author, at, *_ in found["note"]],
        explanations=[
            Explanation(sae, corpus, feature, method, version, text, score, scorer, split, at.replace(tzinfo=UTC))
            for text, _, at, corpus, method, version, score, scorer, split in found["explanation"]
        ],
        lists=[text for text, *_ in found["list"]],
    )
