"""What people and explainers say of features: labels, notes and explanations, in the catalogue of a workspace.

Decisions:
- They belong to (SAE, feature), not to an index: an index made anew, on the same corpus or another, finds them again.
- A feature has one label, which the last writer sets: it is its name. Notes add up. An explanation is replaced by one
  of the same SAE, corpus, feature, method, version and scorer, so that a method can be run again.
- Like the catalogue, the file is opened for milliseconds: web server, notebook and explainer write side by side.
- Rows written together are written in one transaction: all of them or none.
"""

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from store.catalog import Catalog
from store.errors import StoreError
from store.workspace import check_id

_KEY = ("sae", "corpus", "feature", "method", "version", "scorer")


class Label(NamedTuple):
    """A person's name for a feature."""

    sae: str
    feature: int
    text: str
    author: str
    made_at: datetime
    """UTC."""


class Note(NamedTuple):
    """A remark on a feature, or on the whole SAE."""

    sae: str
    feature: int | None
    """None: on the SAE as a whole."""
    text: str
    author: str
    made_at: datetime
    """UTC."""


@dataclass(frozen=True)
class Explanation:
    """What a method says a feature stands for, and how well that holds.

    Attributes:
        sae, corpus, feature: what is explained, by which corpus' examples.
        method, version: what wrote the text.
        text: the explanation.
        score: how well it predicts the feature, larger is better; None if nobody looked. scorer: what gave the score;
            split: of which contexts, so that a reader sees that they were not those explained.
        made_at: UTC; None when it is added means now.
        info: whatever else the method has to say, as JSON.
    """

    sae: str
    corpus: str
    feature: int
    method: str
    version: str
    text: str
    score: float | None = None
    scorer: str | None = None
    split: str | None = None
    made_at: datetime | None = None
    info: dict[str, Any] = field(default_factory=dict)


class Annotations:
    """Labels, notes and explanations of a workspace; every call opens the catalogue, does its work and closes it."""

    def __init__(self, workspace: str | Path) -> None:
        """Open the catalogue of a workspace, made if there is none.

        Raises:
            StoreError: it was written by a newer version, is damaged or cannot be written.
        """
        self._catalog = Catalog(workspace)

    def set_label(self, sae: str, feature: int, text: str, author: str) -> None:
        """Name a feature, instead of the name it has.

        Raises:
            StoreError: the text is empty or has several lines.
        """
        text = _text(text, "a label")
        if len(text.splitlines()) > 1:
            raise StoreError("a label is one line; write a note for more")
        row = [check_id(sae), _feature(feature), text, _text(author, "an author"), _now()]
        with self._catalog.open() as connection:
            connection.execute("INSERT OR REPLACE INTO label VALUES (?, ?, ?, ?, ?)", row)

    def remove_label(self, sae: str, feature: int) -> None:
        """Take a feature's label away, if it has one."""
        with self._catalog.open() as connection:
            connection.execute("DELETE FROM label WHERE sae = ? AND feature = ?", [sae, _feature(feature)])

    def labels(self, sae: str) -> dict[int, Label]:
        """The labels of an SAE by feature, in the order of features."""
        sql = "SELECT sae, feature, label, author, made_at FROM label WHERE sae = ? ORDER BY feature"
        with self._catalog.open() as connection:
            rows = connection.execute(sql, [sae]).fetchall()
        return {feature: Label(sae, feature, text, author, _utc(time)) for sae, feature, text, author, time in rows}

    def add_note(self, sae: str, feature: int | None, text: str, author: str) -> None:
        """Add a note on a feature, or with None on the SAE as a whole.

        Raises:
            StoreError: the text is empty.
        """
        number = None if feature is None else _feature(feature)
        row = [check_id(sae), number, _text(text, "a note"), _text(author, "an author"), _now()]
        with self._catalog.open() as connection:
            connection.execute("INSERT INTO note VALUES (?, ?, ?, ?, ?)", row)

    def remove_note(self, note: Note) -> None:
        """Take a note away, as `notes` gave it."""
        row = [note.sae, note.feature, note.text, note.author, _naive(note.made_at)]
        with self._catalog.open() as connection:
            connection.execute(
                """DELETE FROM note WHERE sae = ? AND feature IS NOT DISTINCT FROM ?::INTEGER AND note = ?
                   AND author = ? AND made_at = ?""",
                row,
            )

    def notes(self, sae: str, feature: int | None = None) -> list[Note]:
        """The notes on an SAE and all its features, or on one feature; oldest first."""
        sql = """SELECT sae, feature, note, author, made_at FROM note
                 WHERE sae = ? AND (?::INTEGER IS NULL OR feature = ?::INTEGER) ORDER BY made_at, rowid"""
        with self._catalog.open() as connection:
            rows = connection.execute(sql, [sae, feature, feature]).fetchall()
        return [Note(sae, feature, text, author, _utc(time)) for sae, feature, text, author, time in rows]

    def add_explanations(self, rows: Iterable[Explanation]) -> None:
        """Add explanations, each instead of one of the same SAE, corpus, feature, method, version and scorer; all of
        them or none. Of several alike among `rows`, the last is kept.

        Raises:
            StoreError: one cannot be stored; says which and why.
        """
        kept = {tuple(getattr(row, name) for name in _KEY): _explanation_row(row) for row in rows}
        if not kept:
            return
        table = pa.Table.from_pylist(list(kept.values()), schema=_EXPLANATIONS)
        alike = " AND ".join(f"explanation.{name} IS NOT DISTINCT FROM incoming.{name}" for name in _KEY)
        with self._catalog.open() as connection, _transaction(connection):
            connection.register("incoming", table)
            connection.execute(f"DELETE FROM explanation USING incoming WHERE {alike}")
            connection.execute("INSERT INTO explanation BY NAME SELECT * FROM incoming")

    def explanations(self, sae: str, feature: int | None = None, corpus: str | None = None) -> list[Explanation]:
        """Explanations of an SAE or of one feature, of one corpus or all: by feature, best score first."""
        sql = f"""SELECT {", ".join(_EXPLANATIONS.names)} FROM explanation
                  WHERE sae = $sae AND ($feature::INTEGER IS NULL OR feature = $feature::INTEGER)
                  AND ($corpus::VARCHAR IS NULL OR corpus = $corpus::VARCHAR)
                  ORDER BY feature, score DESC NULLS LAST, method, version, scorer, corpus"""
        with self._catalog.open() as connection:
            rows = connection.execute(sql, {"sae": sae, "feature": feature, "corpus": corpus}).fetchall()
        return [replace(Explanation(*row), made_at=_utc(row[9]), info=json.loads(row[10])) for row in rows]


_EXPLANATIONS = pa.schema([
    ("sae", pa.string()),
    ("corpus", pa.string()),
    ("feature", pa.int32()),
    ("method", pa.string()),
    ("version", pa.string()),
    ("text", pa.string()),
    ("score", pa.float64()),
    ("scorer", pa.string()),
    ("split", pa.string()),
    ("made_at", pa.timestamp("us")),
    ("info", pa.string()),
])  # fmt: skip


def _explanation_row(row: Explanation) -> dict[str, Any]:
    """What is stored of an explanation, checked."""
    where = f"explanation of feature {row.feature} of {row.sae} by {row.method}"
    if row.score is not None and not math.isfinite(row.score):
        raise StoreError(f"{where}: the score is {row.score}; leave it out (None) where there is none")
    try:
        info = json.dumps(row.info, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StoreError(f"{where}: info must be JSON ({error})") from None
    return {
        "sae": check_id(row.sae),
        "corpus": check_id(row.corpus),
        "feature": _feature(row.feature),
        "method": _text(row.method, "a method"),
        "version": _text(row.version, "a version"),
        "text": _text(row.text, f"{where}: its text"),
        "score": row.score,
        "scorer": row.scorer,
        "split": row.split,
        "made_at": _now() if row.made_at is None else _naive(row.made_at),
        "info": info,
    }


@contextmanager
def _transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All or nothing: what is not committed when the connection is closed never happened."""
    connection.execute("BEGIN")
    yield
    connection.execute("COMMIT")


def _text(text: str, what: str) -> str:
    """A text that can be stored, without blanks around it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise StoreError(f"{what} must be text; {text!r} is not valid Unicode") from None
    if not text.strip():
        raise StoreError(f"{what} cannot be empty")
    return text.strip()


def _feature(feature: int) -> int:
    if not 0 <= feature < 1 << 31:
        raise StoreError(f"{feature} cannot be a feature's number; they count from 0")
    return int(feature)


def _now() -> datetime:
    return _naive(datetime.now(UTC))


def _naive(time: datetime) -> datetime:
    """As stored: UTC without a zone. A time without one is taken to be UTC."""
    return (time if time.tzinfo is None else time.astimezone(UTC)).replace(tzinfo=None)


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC)
