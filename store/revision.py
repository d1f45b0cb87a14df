"""What changes whenever a workspace's features, or what is said of them, do: for whoever keeps what was read.

An index is never changed, only added, which its folder's time tells. The catalogue's file says in its header how often
DuckDB wrote it. Looking at both takes some ten microseconds.
"""

import os
from pathlib import Path

from store.errors import explained
from store.workspace import CATALOG, INDEXES

_HEADERS = (4096, 8192)
"""Where the two database headers begin; each counts in its first 64 bytes."""


def catalog_revision(workspace: Path) -> object:
    """What changes whenever the catalogue does; None if there is none.

    Raises:
        StoreError: it cannot be read.
    """
    path = os.path.join(workspace, CATALOG)  # noqa: PTH118 (asked for by every request: pathlib takes five times longer)
    with explained("cannot read", Path(path)):
        try:
            file = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            header = b"".join(os.pread(file, 64, start) for start in _HEADERS)
        finally:
            os.close(file)
    return header, _size(path + ".wal")


def revision(workspace: Path) -> object:
    """What changes whenever an index is finished or removed, or the catalogue is written.

    Raises:
        StoreError: the catalogue cannot be read.
    """
    return changed(os.path.join(workspace, INDEXES)), catalog_revision(workspace)  # noqa: PTH118


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except FileNotFoundError:
        return 0


def changed(folder: str | Path) -> int:
    """When something was last added to a folder or removed from it, in ns; 0 if it is not there."""
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116
    except FileNotFoundError:
        return 0
