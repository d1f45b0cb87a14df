"""The finished indexes of a workspace, attached to one DuckDB connection as they are asked for."""

import hashlib
import re
import threading
import time
from pathlib import Path
from typing import Any

import duckdb

from store.errors import StoreError, explained
from store.index import Index
from store.reading import attach
from store.revision import changed
from store.workspace import index_files, indexes_folder, split_index_id

_TICK = 100_000_000
"""Nanoseconds; within some of them two changes of a folder may bear the same time."""


class Attached:
    """Finds and opens indexes; safe to share between threads."""

    def __init__(self, workspace: Path, threads: int | None, memory_limit: str) -> None:
        self.workspace = workspace
        self._lock = threading.Lock()
        self._attached: dict[Path, Index] = {}
        self._checked: set[Path] = set()
        self._closed = False
        self._listed: tuple[int | None, dict[str, Path]] = (None, {})
        settings: dict[str, Any] = {"memory_limit": memory_limit, "temp_directory": ""}
        if threads is not None:
            settings["threads"] = threads
        self.connection = duckdb.connect(config=settings)
        self.connection.execute("SET GLOBAL disabled_optimizers = 'late_materialization'")

    def close(self) -> None:
        """Release the files."""
        with self._lock:
            self._closed = True
            self.connection.close()

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A cursor of its own for one piece of work: connections must not be shared between threads."""
        self._check_open()
        return self.connection.cursor()

    def one(self, sae: str | None, corpus: str | None) -> Index:
        """The only index that fits.

        Raises:
            StoreError: none fits, or several (the message lists them), or the SAE was trained anew since.
        """
        files = self.files()
        fitting = [id for id in files if fits(id, sae, corpus)]
        if len(fitting) == 1:
            index = self._open(files[fitting[0]])
            self._check_sae(index)
            return index
        if not files:
            raise StoreError(f"{self.workspace} has no finished index; make one with `saebench index`")
        if not fitting:
            wanted = " on corpus ".join(repr(part) for part in (sae, corpus) if part is not None)
            raise StoreError(f"{self.workspace} has no index of {wanted}; it has: {', '.join(files)}")
        argument = "corpus" if sae else "sae"
        raise StoreError(f"several indexes fit, say which with {argument}=: {', '.join(fitting)}")

    def files(self) -> dict[str, Path]:
        """The newest file of every index; listed again when the folder has changed, or might have since."""
        folder = indexes_folder(self.workspace)
        with explained("cannot read", folder):
            now = changed(folder)
            if now != self._listed[0]:
                settled = time.time_ns() - now > _TICK
                self._listed = (now if settled else None, index_files(folder))
        return self._listed[1]

    def all(self) -> list[Index]:
        """All finished indexes, but for those that are removed while they are being opened."""
        found = []
        for path in self.files().values():
            try:
                found.append(self._open(path))
            except StoreError:
                if path.exists():
                    raise
        return found

    def fitting(self, sae: str | None, corpus: str | None) -> list[Index]:
        """Those of an SAE, of a corpus, or both."""
        return [self._open(path) for id, path in self.files().items() if fits(id, sae, corpus)]

    def _open(self, path: Path) -> Index:
        with self._lock:
            self._check_open()
            if path not in self._attached:
                alias = self._alias(path)
                meta = attach(self.connection, path, alias)
                self._attached[path] = Index(alias, path, meta, self.cursor)
            return self._attached[path]

    def _check_sae(self, index: Index) -> None:
        """An index of other weights than those beside it would show one SAE's features under another's name."""
        if index.path in self._checked:
            return
        sae_id, _ = split_index_id(index.id)
        weights = self.workspace / "saes" / sae_id / "sae.safetensors"
        made = index.meta["provenance"].get("sae")
        if isinstance(made, dict) and "sha256" in made and weights.exists():
            with explained("cannot read", weights), weights.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != made["sha256"]:
                raise StoreError(
                    f"index {index.path.name} was made from another SAE than {weights}; "
                    f"run `saebench index --sae {sae_id}` to make it anew"
                )
        self._checked.add(index.path)

    def _alias(self, path: Path) -> str:
        identifier, _, content = path.stem.rpartition(".")
        sae, corpus = split_index_id(identifier)
        alias = f"{_word(sae)}__{_word(corpus)}"
        return f"{alias}__{content}" if any(alias == index.alias for index in self._attached.values()) else alias

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("this store has been closed; open it again")


def fits(index_id: str, sae: str | None, corpus: str | None) -> bool:
    """Whether an index is of this SAE and this corpus; None fits every one."""
    own_sae, own_corpus = split_index_id(index_id)
    return sae in (None, own_sae) and corpus in (None, own_corpus)


def _word(text: str) -> str:
    return re.sub(r"\W", "_", text)
