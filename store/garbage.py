"""What nothing in a workspace refers to any more: found and listed first, removed when asked.

Decisions:
- An index that a newer file has replaced is still whole; a reader that has it open keeps it until it closes.
- An unfinished index is left alone while a process holds its lock. One whose process is gone could still be continued
  by running the same command again, so that removing it loses work: the list says so.
- Labels, notes, explanations and lists are people's work and are never garbage.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from store.catalog import Catalog
from store.check import rows_without_files
from store.errors import explained
from store.locks import acquire
from store.workspace import CATALOG, index_files, indexes_folder

_HASH = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True)
class Garbage:
    """One thing that could go: a file or folder, or a row of the catalogue (`row`: kind and id)."""

    name: str
    why: str
    n_bytes: int
    path: Path | None = None
    row: tuple[str, str] | None = None


def find_garbage(workspace: Path) -> list[Garbage]:
    """Everything that nothing refers to; nothing is changed."""
    with explained("cannot read", workspace):
        return [*_older_indexes(workspace), *_leftovers(workspace), *_rows(workspace)]


def remove_garbage(workspace: Path, garbage: list[Garbage]) -> list[Garbage]:
    """Remove what was found and still is garbage; returns that."""
    still = set(find_garbage(workspace))
    removed = [one for one in garbage if one in still]
    for one in removed:
        if one.row is not None:
            Catalog(workspace).remove(*one.row)
        elif one.path is not None:
            with explained("cannot remove", one.path):
                _remove(one.path)
    return removed


def _older_indexes(workspace: Path) -> Iterator[Garbage]:
    newest = index_files(indexes_folder(workspace))
    for path in sorted(indexes_folder(workspace).glob("*.duckdb")):
        identifier, _, content = path.stem.rpartition(".")
        if _HASH.fullmatch(content) and newest.get(identifier, path) != path:
            yield Garbage(path.name, "a newer file of this index is there", path.stat().st_size, path)


def _leftovers(workspace: Path) -> Iterator[Garbage]:
    building = indexes_folder(workspace) / ".building"
    names = {path.name.removesuffix(".removing").removesuffix(".lock") for path in building.glob("*")}
    for name in sorted(names):
        with _unless_building(building / name) as free:
            if not free:
                continue
            for path in (building / name, building / f"{name}.removing"):
                if path.is_dir():
                    why = "unfinished; the command that began it would go on from here"
                    why = why if path.name == name else "left over from a process that was killed"
                    yield Garbage(f".building/{path.name}", why, _size(path), path)


def _rows(workspace: Path) -> Iterator[Garbage]:
    if not (workspace / CATALOG).exists():
        return
    for kind, id in rows_without_files(workspace, Catalog(workspace)):
        why = "an entry of the catalogue whose files are gone"
        why = "its SAEs are not all left; `saebench circuit set` would train the missing ones" if kind == "set" else why
        yield Garbage(f"{kind} {id}", why, 0, row=(kind, id))


def _remove(path: Path) -> None:
    if path.is_file():
        path.unlink()
        return
    staging = path.with_name(path.name.removesuffix(".removing"))
    with _unless_building(staging) as free:
        if free:
            shutil.rmtree(path)


@contextmanager
def _unless_building(staging: Path) -> Iterator[bool]:
    """Whether no process is at work in a staging folder; while the caller looks, none can begin."""
    lock = staging.with_name(f"{staging.name}.lock")
    if not lock.exists():
        yield True
        return
    try:
        held = acquire(lock, patience=0)
    except BlockingIOError:
        yield False
        return
    with held:
        yield True


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
