"""The source of the running interpreter's standard library, split by module.

A module here is a top-level name (`asyncio`, `json`, …) with all its files, so that no sibling file of a
held-out module is ever trained on. The split is a hash of the name alone: it is the same on every machine
and for every Python version.
"""

import hashlib
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

Split = Literal["train", "heldout"]

HELDOUT_ONE_IN = 12
TEST_DIRECTORIES = frozenset({"test", "tests", "idle_test"})
NOT_STDLIB = frozenset({"site-packages", "dist-packages", "__pycache__"})


def split_of(module: str) -> Split:
    """The split of a top-level module, by a stable hash of its name."""
    digest = hashlib.sha256(module.encode()).digest()
    return "heldout" if int.from_bytes(digest[:8], "big") % HELDOUT_ONE_IN == 0 else "train"


def stdlib_files(*, tests: bool = False) -> Iterator[tuple[str, Path]]:
    """Yield (top-level module, file) of the standard library's Python source in sorted order.

    `tests` chooses the test packages (and only them) instead of the library itself.
    """
    root = Path(sysconfig.get_path("stdlib"))
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in NOT_STDLIB]
        found += [Path(folder, name) for name in names if name.endswith(".py")]
    for path in sorted(found):
        parts = path.relative_to(root).parts
        if tests == (not TEST_DIRECTORIES.isdisjoint(parts[:-1])):
            yield parts[0].removesuffix(".py"), path
