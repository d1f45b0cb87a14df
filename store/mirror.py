"""Labels, notes, explanations and lists beside a reader's indexes, in its own memory.

Decisions:
- They are copied out of the catalogue, not attached: an attached catalogue would lock its writers out for as long as
  the store is open.
- They are copied again when the catalogue has changed, which its file's header tells: DuckDB counts in it how often it
  was written. Looking costs some microseconds, so every reader sees what was written before it asked.
- The copies are the tables named in `TABLES`, in the database `memory`, for queries to join.
"""

import threading
from datetime import datetime
from pathlib import Path

import duckdb

from store.catalog import Catalog
from store.migrations import migrations
from store.revision import catalog_revision

OF_FEATURES = ("label", "note", "explanation", "listed")
TABLES = (*OF_FEATURES, "feature_list")


class Mirror:
    """Keeps `TABLES` in `memory.main` of a connection as the catalogue has them."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, workspace: Path) -> None:
        self._connection, self._workspace = connection, workspace
        self._lock = threading.Lock()
        self._seen: object = None
        self.version = 0
        """How often the catalogue has been copied."""
        self.explained: dict[str, tuple[int, datetime]] = {}
        """Of each SAE with explanations what changes whenever they do: how many, and when the last was made."""
        for sql in migrations("catalog").values():
            connection.execute(sql)

    @property
    def stale(self) -> bool:
        """Whether the catalogue has changed since it was copied."""
        return catalog_revision(self._workspace) != self._seen

    def refresh(self) -> None:
        """Copy what the catalogue says now, if that is not what was copied last.

        Raises:
            StoreError: the catalogue is damaged, newer than this code, or in use for longer than can be waited for.
        """
        with self._lock:
            now = catalog_revision(self._workspace)
            if now == self._seen:
                return
            if now is not None:
                self._copy()
            self._seen = now

    def _copy(self) -> None:
        with Catalog(self._workspace).open() as catalog:
            tables = {name: catalog.sql(f"FROM {name}").to_arrow_table() for name in TABLES}
        cursor = self._connection.cursor()
        cursor.execute("BEGIN")
        for name, rows in tables.items():
            cursor.register("incoming", rows)
            cursor.execute(f"DELETE FROM memory.main.{name}")
            cursor.execute(f"INSERT INTO memory.main.{name} SELECT * FROM incoming")
        cursor.execute("COMMIT")
        stamps = cursor.execute(
            "SELECT sae, count(*), max(made_at) FROM memory.main.explanation GROUP BY sae"
        ).fetchall()
        self.explained = {sae: (n, last) for sae, n, last in stamps}
        self.version += 1
