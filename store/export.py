"""Writing the rows of a query to a file, whole or not at all."""

from pathlib import Path

import duckdb

from store.errors import StoreError, explained, first_line
from store.files import write_atomically
from store.reading import literal

PARQUET = "FORMAT parquet, COMPRESSION zstd"
CSV = "FORMAT csv, HEADER true"


def write_rows(connection: duckdb.DuckDBPyConnection, sql: str, path: Path, options: str, title: str) -> Path:
    """Write the rows of a query to `path`, replacing a file of that name; rows go by as they are read, not through
    memory. Returns the path.

    Raises:
        StoreError: there is no such folder, it cannot be written, the disk is full, or the query fails. A file that
            was there before is still there then.
    """

    def copy(temporary: Path) -> None:
        try:
            connection.execute(f"COPY (\n{sql}\n) TO {literal(str(temporary))} ({options})")
        except (duckdb.IOException, duckdb.HTTPException):
            raise
        except duckdb.Error as error:
            raise StoreError(f"cannot write {path}: {title}: {first_line(error)}") from None

    with explained("cannot write", path):
        if not path.parent.is_dir():
            raise StoreError(f"cannot write {path}: there is no folder {path.parent}")
        if path.is_dir():
            raise StoreError(f"cannot write {path}: it is a folder; name a file in it")
        write_atomically(path, copy)
    return path
