"""Writing files so that a kill at any moment leaves either the old state or the new one."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

TEMPORARY = ".tmp"


def sync(path: Path) -> None:
    """Force a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Call `write` with a temporary path in the same folder, force it to the disk and rename it to `path`.

    Nothing is left behind when `write` raises.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        write(temporary)
        sync(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def remove_folder(folder: Path) -> None:
    """Remove a folder in one step for whoever looks: renamed first, so that no half of it is ever taken for all."""
    condemned = condemned_name(folder)
    shutil.rmtree(condemned, ignore_errors=True)
    if folder.exists():
        folder.rename(condemned)
        shutil.rmtree(condemned, ignore_errors=True)


def condemned_name(folder: Path) -> Path:
    """What `remove_folder` calls a folder while it removes it."""
    return folder.with_name(folder.name + ".removing")
