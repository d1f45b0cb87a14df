"""The catalogue of a workspace: which corpora, harvests, SAEs and indexes it holds.

What people and explainers say of features lies in the same file; see `store.annotations`.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from store.errors import StoreError, explained
from store.locks import acquire
from store.migrations import migrate
from store.workspace import CATALOG, check_id

KINDS = ("corpus", "harvest", "sae", "set", "index")
_PATIENCE = 20.0
_one_at_a_time = threading.Lock()


class Catalog:
    """Small mutable rows in `catalog.duckdb`, opened for milliseconds at a time.

    DuckDB lets one process write a file or many read it; so every call opens the file, does its work and closes it,
    and waits up to 20 seconds while another process does the same. A lock of our own is held from before the file is
    opened until after it is closed: under DuckDB's alone, one row in thousands was lost among writing processes.
    """

    def __init__(self, workspace: str | Path) -> None:
        """Create the catalogue of a workspace, or bring it up to date.

        Raises:
            StoreError: it was written by a newer version, is damaged or cannot be written.
        """
        self.path = Path(workspace) / CATALOG
        with explained("cannot create", self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.open() as connection:
            migrate(connection, "catalog", self.path)

    def put(self, kind: str, id: str, info: dict[str, Any]) -> None:
        """Record or replace one entry; `info` must be JSON."""
        _check_kind(kind)
        check_id(id)
        with self.open() as connection:
            _put(connection, kind, id, info)

    def find(self, kind: str, id: str) -> dict[str, Any] | None:
        """One entry, its id under "id", or None if there is none."""
        return next((entry for entry in self.all(kind) if entry["id"] == id), None)

    def add(self, kind: str, id: str, info: dict[str, Any]) -> None:
        """Record `info` beside what an entry already says; the newer value of a key wins."""
        _check_kind(kind)
        check_id(id)
        with self.open() as connection:
            rows = connection.execute("SELECT info FROM entry WHERE kind = ? AND id = ?", [kind, id]).fetchall()
            _put(connection, kind, id, (json.loads(rows[0][0]) if rows else {}) | info)

    def get(self, kind: str, id: str) -> dict[str, Any]:
        """One entry, its id under "id".

        Raises:
            StoreError: there is none; the message lists those that exist.
        """
        entry = self.find(kind, id)
        if entry is not None:
            return entry
        known = ", ".join(entry["id"] for entry in self.all(kind)) or "none"
        raise StoreError(f"the workspace {self.path.parent} has no {kind} {id!r}; it has: {known}")

    def all(self, kind: str) -> list[dict[str, Any]]:
        """All entries of a kind, sorted by id, each with its id under "id"."""
        _check_kind(kind)
        with self.open() as connection:
            rows = connection.execute("SELECT id, info FROM entry WHERE kind = ? ORDER BY id", [kind]).fetchall()
        return [{**json.loads(info), "id": id} for id, info in rows]

    def remove(self, kind: str, id: str) -> None:
        """Forget one entry, if there is one."""
        _check_kind(kind)
        with self.open() as connection:
            connection.execute("DELETE FROM entry WHERE kind = ? AND id = ?", [kind, id])

    @contextmanager
    def open(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection for one short piece of work: while it is open, nobody else can use the catalogue."""
        with _one_at_a_time, explained("cannot use", self.path), _alone(self.path):
            connection = _connect(self.path)
            try:
                yield connection
            finally:
                connection.close()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    try:
        lock = acquire(path.with_name(path.name + ".lock"), _PATIENCE)
    except BlockingIOError:
        raise _in_use(path) from None
    with lock:
        yield


def _connect(path: Path) -> duckdb.DuckDBPyConnection:
    give_up = time.monotonic() + _PATIENCE
    while True:
        try:
            return duckdb.connect(str(path), config={"threads": 1, "memory_limit": "256MB"})
        except duckdb.IOException as error:
            if "lock" not in str(error):
                raise
            if time.monotonic() > give_up:
                raise _in_use(path) from None
        time.sleep(0.05)  # another program has it: ours wait for each other before they come here


def _in_use(path: Path) -> StoreError:
    return StoreError(f"{path} is in use by another process; try again")


def _put(connection: duckdb.DuckDBPyConnection, kind: str, id: str, info: dict[str, Any]) -> None:
    connection.execute("INSERT OR REPLACE INTO entry VALUES (?, ?, ?)", [kind, id, json.dumps(info)])


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise StoreError(f"the catalogue has no kind {kind!r}; it has: {', '.join(KINDS)}")
