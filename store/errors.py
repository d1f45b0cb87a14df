"""The one error of the store, and the translation of everything that can go wrong underneath into it."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FULL_HINTS = ("No space left", "File too large", "disk is full", "max_temp_directory_size")


class StoreError(Exception):
    """Something the user can put right. The message is one line: what is wrong, where, what to do."""


def first_line(error: BaseException) -> str:
    """The first line of an error's text, without DuckDB's 'Parser Error: ' and the like."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0].strip()
    kind, separator, rest = line.partition(" Error: ")
    return rest if separator and " " not in kind else line


@contextmanager
def explained(what: str, path: Path) -> Iterator[None]:
    """Turn file-system, Arrow and DuckDB errors met while doing `what` with `path` into one line."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL or _sounds_full(error):
            raise _full(what, path) from None
        if isinstance(error, FileNotFoundError):
            raise StoreError(f"{what} {path}: there is no such file") from None
        if isinstance(error, PermissionError):
            raise StoreError(f"{what} {path}: permission denied; check the owner of the folder") from None
        raise StoreError(f"{what} {path}: {error.strerror or first_line(error)}") from None
    except (duckdb.Error, pa.ArrowException) as error:
        if _sounds_full(error):
            raise _full(what, path) from None
        raise StoreError(f"{what} {path}: {first_line(error)}") from None


def _sounds_full(error: Exception) -> bool:
    return any(hint in str(error) for hint in _FULL_HINTS)


def _full(what: str, path: Path) -> StoreError:
    return StoreError(f"{what} {path}: the disk is full; free some space and run the same command again")
