"""Numbered SQL files, and how far a database has come along them."""

from functools import cache
from importlib import resources
from pathlib import Path

import duckdb

from store.errors import StoreError


@cache
def migrations(kind: str) -> dict[int, str]:
    """The SQL of schema/<kind>_<version>.sql by version, in order; an index has only its last."""
    folder = resources.files("store") / "schema"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.startswith(f"{kind}_"))
    return {int(Path(name).stem.rpartition("_")[2]): (folder / name).read_text(encoding="utf-8") for name in names}


def latest(kind: str) -> int:
    """The schema version that this code writes."""
    return max(migrations(kind))


def check_version(kind: str, found: int, path: object) -> None:
    """Raise StoreError if a file was written by a newer version of the store, or an index by an older one: indexes are
    not migrated but built again.
    """
    if found > latest(kind):
        raise StoreError(
            f"{path} was written by a newer version (schema {found}, this one reads up to {latest(kind)}); "
            "update saebench"
        )
    if kind == "index" and found < latest(kind):
        raise StoreError(
            f"{path} was written by an older version (schema {found}, this one reads {latest(kind)}); "
            "delete it and run `saebench index` again"
        )


def migrate(connection: duckdb.DuckDBPyConnection, kind: str, path: object) -> None:
    """Bring the database of a connection up to the latest version, all of it or nothing.

    Raises:
        StoreError: the database is newer than this code.
    """
    connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
    rows = connection.execute("SELECT max(version) FROM schema_version").fetchall()
    found = rows[0][0] or 0
    check_version(kind, found, path)
    if found == latest(kind):
        return
    connection.execute("BEGIN")
    for version, sql in migrations(kind).items():
        if version > found:
            connection.execute(sql)
            connection.execute("INSERT INTO schema_version VALUES (?)", [version])
    connection.execute("COMMIT")
