"""What people and explainers say of features: labels, notes, explanations and lists, in the catalogue of a workspace.

Decisions:
- They belong to (SAE, feature), not to an index: an index made anew, on the same corpus or another, finds them again.
- A feature has one label, which the last writer sets: it is its name. Notes add up. An explanation is replaced by one
  of the same SAE, corpus, feature, method, version and scorer, so that a method can be run again.
- A list holds features of any SAE in the order of adding, each once. It is made by its first feature or description.
- Like the catalogue, the file is opened for milliseconds: web server, notebook and explainer write side by side.
- Rows written together are written in one transaction: all of them or none.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa

from store.catalog import Catalog
from store.errors import StoreError
from store.explanation import EXPLANATIONS, KEY, Explanation, explanation_row
from store.fields import checked_feature, checked_name, checked_text, now, read_time, stored_time
from store.workspace import check_id


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


class FeatureList(NamedTuple):
    """A named list of features."""

    name: str
    description: str
    """Empty if nobody wrote one."""
    author: str
    """Who made it."""
    made_at: datetime
    """UTC."""
    n_features: int


class Listed(NamedTuple):
    """A feature on a list."""

    sae: str
    feature: int
    author: str
    """Who added it."""
    made_at: datetime
    """When it was added; UTC."""


class Annotations:
    """Labels, notes, explanations and lists of a workspace; each call opens the catalogue, does its work, closes it."""

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
        text = checked_text(text, "a label")
        if len(text.splitlines()) > 1:
            raise StoreError("a label is one line; write a note for more")
        row = [check_id(sae), checked_feature(feature), text, checked_text(author, "an author"), now()]
        with self._catalog.open() as connection:
            connection.execute("INSERT OR REPLACE INTO label VALUES (?, ?, ?, ?, ?)", row)

    def remove_label(self, sae: str, feature: int) -> None:
        """Take a feature's label away, if it has one."""
        with self._catalog.open() as connection:
            connection.execute("DELETE FROM label WHERE sae = ? AND feature = ?", [sae, checked_feature(feature)])

    def labels(self, sae: str) -> dict[int, Label]:
        """The labels of an SAE by feature, in the order of features."""
        sql = "SELECT sae, feature, label, author, made_at FROM label WHERE sae = ? ORDER BY feature"
        with self._catalog.open() as connection:
            rows = connection.execute(sql, [sae]).fetchall()
        return {
            feature: Label(sae, feature, text, author, read_time(time)) for sae, feature, text, author, time in rows
        }

    def add_note(self, sae: str, feature: int | None, text: str, author: str) -> None:
        """Add a note on a feature, or with None on the SAE as a whole.

        Raises:
            StoreError: the text is empty.
        """
        number = None if feature is None else checked_feature(feature)
        row = [check_id(sae), number, checked_text(text, "a note"), checked_text(author, "an author"), now()]
        with self._catalog.open() as connection:
            connection.execute("INSERT INTO note VALUES (?, ?, ?, ?, ?)", row)

    def remove_note(self, note: Note) -> None:
        """Take a note away, as `notes` gave it."""
        row = [note.sae, note.feature, note.text, note.author, stored_time(note.made_at)]
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
        return [Note(sae, feature, text, author, read_time(time)) for sae, feature, text, author, time in rows]

    def add_explanations(self, rows: Iterable[Explanation]) -> None:
        """Add explanations, each instead of one of the same SAE, corpus, feature, method, version and scorer; all of
        them or none. Of several alike among `rows`, the last is kept.

        Raises:
            StoreError: one cannot be stored; says which and why.
        """
        kept = {tuple(getattr(row, name) for name in KEY): explanation_row(row) for row in rows}
        if not kept:
            return
        table = pa.Table.from_pylist(list(kept.values()), schema=EXPLANATIONS)
        alike = " AND ".join(f"explanation.{name} IS NOT DISTINCT FROM incoming.{name}" for name in KEY)
        with self._catalog.open() as connection, _transaction(connection):
            connection.register("incoming", table)
            connection.execute(f"DELETE FROM explanation USING incoming WHERE {alike}")
            connection.execute("INSERT INTO explanation BY NAME SELECT * FROM incoming")

    def explanations(self, sae: str, feature: int | None = None, corpus: str | None = None) -> list[Explanation]:
        """Explanations of an SAE or of one feature, of one corpus or all: by feature, best score first."""
        sql = f"""SELECT {", ".join(EXPLANATIONS.names)} FROM explanation
                  WHERE sae = $sae AND ($feature::INTEGER IS NULL OR feature = $feature::INTEGER)
                  AND ($corpus::VARCHAR IS NULL OR corpus = $corpus::VARCHAR)
                  ORDER BY feature, score DESC NULLS LAST, method, version, scorer, corpus"""
        with self._catalog.open() as connection:
            rows = connection.execute(sql, {"sae": sae, "feature": feature, "corpus": corpus}).fetchall()
        return [replace(Explanation(*row), made_at=read_time(row[9]), info=json.loads(row[10])) for row in rows]

    def describe_list(self, name: str, text: str, author: str) -> None:
        """Say what a list is for, with "" nothing; made by `author` if there is none of that name.

        Raises:
            StoreError: no list can have that name, or the text is no valid Unicode.
        """
        description = checked_text(text, "a description") if text.strip() else ""
        with self._catalog.open() as connection, _transaction(connection):
            made = _make_list(connection, name, author)
            connection.execute("UPDATE feature_list SET description = ? WHERE list = ?", [description, made])

    def add_to_list(self, name: str, sae: str, feature: int, author: str) -> None:
        """Put a feature at the end of a list, unless it is on it; the list is made if there is none of that name.

        Raises:
            StoreError: no list can have that name, no feature that number.
        """
        row = [check_id(sae), checked_feature(feature), checked_text(author, "an author"), now()]
        with self._catalog.open() as connection, _transaction(connection):
            made = _make_list(connection, name, author)
            connection.execute("INSERT OR IGNORE INTO listed VALUES (?, ?, ?, ?, ?)", [made, *row])

    def remove_from_list(self, name: str, sae: str, feature: int) -> None:
        """Take a feature off a list, if it is on it. The list stays, even empty."""
        row = [name, sae, checked_feature(feature)]
        with self._catalog.open() as connection:
            connection.execute("DELETE FROM listed WHERE list = ? AND sae = ? AND feature = ?", row)

    def remove_list(self, name: str) -> None:
        """Take a list away, if there is one of that name; its features, labels and notes stay."""
        with self._catalog.open() as connection, _transaction(connection):
            connection.execute("DELETE FROM listed WHERE list = ?", [name])
            connection.execute("DELETE FROM feature_list WHERE list = ?", [name])

    def lists(self) -> list[FeatureList]:
        """All lists, by name."""
        sql = """SELECT list, description, author, made_at,
                     (SELECT count(*) FROM listed WHERE listed.list = feature_list.list)
                 FROM feature_list ORDER BY list"""
        with self._catalog.open() as connection:
            rows = connection.execute(sql).fetchall()
        return [FeatureList(name, text, author, read_time(time), n) for name, text, author, time, n in rows]

    def listed(self, name: str) -> list[Listed]:
        """The features on a list in the order of adding; none if there is no such list."""
        sql = "SELECT sae, feature, author, made_at FROM listed WHERE list = ? ORDER BY made_at, rowid"
        with self._catalog.open() as connection:
            rows = connection.execute(sql, [name]).fetchall()
        return [Listed(sae, feature, author, read_time(time)) for sae, feature, author, time in rows]

    def lists_of(self, sae: str, feature: int) -> list[str]:
        """The names of the lists that a feature is on, sorted."""
        sql = "SELECT list FROM listed WHERE sae = ? AND feature = ? ORDER BY list"
        with self._catalog.open() as connection:
            return [name for (name,) in connection.execute(sql, [sae, checked_feature(feature)]).fetchall()]


def _make_list(connection: duckdb.DuckDBPyConnection, name: str, author: str) -> str:
    """Make a list if there is none of that name; the name as it is stored."""
    name, author = checked_name(name), checked_text(author, "an author")
    connection.execute("INSERT OR IGNORE INTO feature_list VALUES (?, '', ?, ?)", [name, author, now()])
    return name


@contextmanager
def _transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All or nothing: what is not committed when the connection is closed never happened."""
    connection.execute("BEGIN")
    yield
    connection.execute("COMMIT")
