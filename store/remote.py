"""Finished parts at a place that all machines of a run reach: a folder, or any URL that fsspec opens.

Decisions: a part is made on the disk of the process that encodes it and copied; what it is copied to is renamed last,
the contexts after the codes, so that a part counts as finished there just as it does on a disk. The process that
builds the index fetches what it has not: the finaliser sorts files of its own disk only.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import fsspec

from store.errors import StoreError, first_line
from store.files import TEMPORARY, write_atomically
from store.staging import MANIFEST, Part, canonical_json, differences, parts_named


class Remote:
    """The parts of one index at `url`. Every method raises StoreError where the place cannot be read or written."""

    def __init__(self, url: str, index_id: str) -> None:
        self.url = f"{url.rstrip('/')}/{index_id}"
        with self._explained("open"):
            self._files, self._root = fsspec.core.url_to_fs(self.url)

    def open(self, manifest: dict[str, Any]) -> None:
        """Leave the manifest there, or check that the one there agrees.

        Raises:
            StoreError: there are parts of another index, or of another configuration; names what differs.
        """
        path = f"{self._root}/{MANIFEST}"
        with self._explained("write"):
            self._files.makedirs(self._root, exist_ok=True)
            if not self._files.exists(path):
                self._files.pipe_file(path + TEMPORARY, canonical_json(manifest).encode())
                self._files.mv(path + TEMPORARY, path)
            found = self._files.cat_file(path)
        try:
            differing = differences(json.loads(found), manifest)
        except ValueError:
            raise StoreError(f"{self.url}/{MANIFEST} is damaged; delete {self.url} and run again") from None
        if differing:
            raise StoreError(
                f"{self.url} holds parts of something else (different {', '.join(differing)}); "
                "delete that folder, or name another in index.parts"
            )

    def parts(self, folder: Path) -> list[Part]:
        """The parts that are finished there, as they will be in `folder`."""
        with self._explained("read"):
            self._files.invalidate_cache()
            names = [path.rsplit("/", 1)[-1] for path in self._files.ls(self._root, detail=False)]
        return parts_named(folder, names)

    def send(self, part: Part) -> None:
        """Copy a finished part there."""
        with self._explained("write"):
            for path in (part.codes, part.contexts):
                there = f"{self._root}/{path.name}"
                self._files.put_file(str(path), there + TEMPORARY)
                self._files.mv(there + TEMPORARY, there)

    def fetch(self, part: Part) -> None:
        """Copy a part from there into its folder."""
        with self._explained("read"):
            for path in (part.codes, part.contexts):
                write_atomically(path, partial(self._copy, path.name))

    def _copy(self, name: str, to: Path) -> None:
        self._files.get_file(f"{self._root}/{name}", str(to))

    def remove(self) -> None:
        """Remove all that is there."""
        with self._explained("remove"):
            self._files.rm(self._root, recursive=True)

    @contextmanager
    def _explained(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, ImportError) as error:
            raise StoreError(f"cannot {verb} {self.url}: {first_line(error)}") from None
