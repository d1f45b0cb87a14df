"""A folder of exported files that is there whole or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from store.errors import StoreError, explained
from store.files import sync


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target`, renamed to it at the end; removed if anything fails.

    Raises:
        StoreError: `target` exists and is no empty folder, it cannot be written, or the disk is full.
    """
    with explained("cannot write", target):
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise StoreError(f"{target} is there already; name a new folder or remove it")
        temporary = target.absolute().with_name(target.absolute().name + ".writing")
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            temporary.mkdir(parents=True)
            yield temporary
            for path in temporary.rglob("*"):
                sync(path)
            temporary.replace(target)
            sync(target.absolute().parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
