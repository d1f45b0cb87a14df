"""Opening finished index files, read-only."""

import json
from pathlib import Path
from typing import Any

import duckdb

from store.errors import StoreError, explained, first_line
from store.migrations import check_version


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def attach(connection: duckdb.DuckDBPyConnection, path: Path, name: str) -> dict[str, Any]:
    """Attach an index under a name; returns its meta table.

    Raises:
        StoreError: the file is damaged, is no index or was written by a newer version.
    """
    with explained("cannot read", path):
        if not path.is_file():
            raise StoreError(f"{path} has been removed; open the store again")
        try:
            connection.execute(f"ATTACH {literal(str(path))} AS {quoted(name)} (READ_ONLY)")
            rows = connection.execute(f"SELECT key, value FROM {quoted(name)}.meta").fetchall()
        except duckdb.Error as error:
            connection.execute(f"DETACH DATABASE IF EXISTS {quoted(name)}")
            raise StoreError(
                f"{path} is damaged or no index ({first_line(error)[:120]}); delete it and build it again"
            ) from None
    meta = {key: json.loads(value) for key, value in rows}
    try:
        check_version("index", meta.get("schema_version", 0), path)
    except StoreError:
        connection.execute(f"DETACH {quoted(name)}")
        raise
    return meta


def read_meta(path: Path) -> dict[str, Any]:
    """The meta table of one index file: ids, counts, provenance.

    Raises:
        StoreError: as for `attach`.
    """
    with duckdb.connect(config={"threads": 1}) as connection:
        return attach(connection, path, "index_file")
