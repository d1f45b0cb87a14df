"""What nothing in a workspace refers to any more: found and listed first, removed when asked.

Decisions:
- An index that a newer file has replaced is still whole; a reader that has it open keeps it until it closes.
- An unfinished index is left alone while a process holds its lock. One whose process is gone could still be continued
  by running the same command again, so that removing it loses work: the list says so.
- The same holds for circuits and unlearning runs that are not finished; a process that looks for one holds a lock, too.
- A dream is shown beside the weights that it was dreamt with alone, so that one of other weights is garbage.
- Labels, notes, explanations and lists are people's work and are never garbage; nor are saved interventions, circuits
  and unlearning runs, also where an SAE of theirs is gone.
"""

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from store.catalog import Catalog
from store.check import rows_without_files
from store.dreams import forgotten_dreams
from store.errors import explained
from store.files import TEMPORARY
from store.locks import acquire
from store.workspace import CATALOG, index_files, indexes_folder

WORKING = {"indexes/.building": ".building", "circuits/.work": "circuits/.work", "unlearning/.work": "unlearning/.work"}
"""Folders of what is not finished yet, and how they are called."""
RESULTS = ("circuits", "dreams/*", "interventions", "maps", "unlearning")
"""Folders of files that are written whole or not at all, under a temporary name first."""
ABANDONED = 3600.0
"""Seconds after which nobody is writing a temporary file any more."""
KILLED = "left over from a process that was killed"
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
        return [
            *_older_indexes(workspace),
            *_leftovers(workspace),
            *_dreams(workspace),
            *_temporary(workspace),
            *_rows(workspace),
        ]


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
    for place, called in WORKING.items():
        working = workspace / place
        names = {path.name.removesuffix(".removing").removesuffix(".lock") for path in working.glob("*")}
        for name in sorted(names):
            with _unless_working(working / name) as free:
                if not free:
                    continue
                for path in (working / name, working / f"{name}.removing"):
                    if path.is_dir():
                        why = "unfinished; the command that began it would go on from here"
                        why = why if path.name == name else KILLED
                        yield Garbage(f"{called}/{path.name}", why, _size(path), path)


def _dreams(workspace: Path) -> Iterator[Garbage]:
    for path, reason in forgotten_dreams(workspace):
        yield Garbage(f"dreams/{path.parent.name}/{path.name}", reason, path.stat().st_size, path)


def _temporary(workspace: Path) -> Iterator[Garbage]:
    for folder in RESULTS:
        for path in sorted(workspace.glob(f"{folder}/*{TEMPORARY}")):
            state = path.stat()
            if time.time() - state.st_mtime > ABANDONED:
                yield Garbage(str(path.relative_to(workspace)), KILLED, state.st_size, path)


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
    with _unless_working(staging) as free:
        if free:
            shutil.rmtree(path)


@contextmanager
def _unless_working(staging: Path) -> Iterator[bool]:
    """Whether no process is at work in a folder of what is not finished; while the caller looks, none can begin."""
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
