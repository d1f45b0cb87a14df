"""Building an index: stage blocks as they come, then sort them into one file."""

import bisect
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from store import attribution
from store.attribution import Unattributed
from store.blocks import ContextBlock, DecoderTables
from store.canonical import CLEARED
from store.errors import StoreError, explained
from store.files import condemned_name, remove_folder, write_atomically
from store.locks import acquire
from store.memory import LEAST_MEMORY, MEMORY
from store.migrations import latest
from store.reading import read_meta
from store.remote import Remote
from store.staging import DOCUMENTS, INPUTS, Part, canonical_json, first_gap, open_manifest, sweep, write_part
from store.workspace import index_files, split_index_id

_PATIENCE = 3.0
"""Seconds to wait for the finaliser of a killed process to end."""


class IndexWriter:
    """Writes one index: one SAE on one corpus.

    Every block added is on the disk when `add` returns. After a kill at any moment, make the writer again and go on
    from `n_contexts`; the finished file is the same, byte for byte, as without the interruption.
    """

    def __init__(
        self,
        staging: str | Path,
        n_latents: int,
        context_length: int,
        provenance: dict[str, Any],
        parts: str | None = None,
    ) -> None:
        """Open a staging folder (`staging_folder(workspace, index_id)`), new or left by a killed process.

        Args:
            staging: folder of unfinished work, on the same file system as the indexes.
            n_latents: features of the SAE.
            context_length: tokens per context.
            provenance: JSON; configuration, seed, code version, hashes of model, SAE and corpus. Readers get it back
                as `meta["provenance"]`.
            parts: a folder or fsspec URL through which the parts of several machines come together (`stage_block`).

        Raises:
            StoreError: the folder holds work on something else, is damaged, or another process is writing there.
        """
        self._staging = Path(staging)
        self._n_latents, self._shape = n_latents, (n_latents, context_length)
        with explained("cannot write", self._staging):
            self._staging.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self._staging)
            if condemned_name(self._staging).exists():
                remove_folder(condemned_name(self._staging))
        manifest = {"schema_version": latest("index"), "n_latents": n_latents, "context_length": context_length}
        try:
            open_manifest(self._staging, {**manifest, "provenance": provenance})
            self._parts = sweep(self._staging)
            self._remote = Remote(parts, self._staging.name) if parts else None
            if self._remote:
                self._remote.open({**manifest, "provenance": provenance})
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let another writer go on with this folder; what is staged stays. `finish` does this, and so does the end of
        the process.
        """
        self._lock.close()

    @property
    def n_contexts(self) -> int:
        """Contexts already safely staged, without a gap: where to go on."""
        return first_gap(self._parts)

    @property
    def staged(self) -> set[int]:
        """Where the parts begin that are already safely staged, here or where parts come together."""
        remote = self._remote.parts(self._staging) if self._remote else []
        return {part.start for part in (*self._parts, *remote)}

    def add(self, block: ContextBlock, start: int | None = None) -> None:
        """Stage the next contexts, or those from context number `start` on.

        Raises:
            StoreError: the block makes no sense (says why), or the disk is full.
        """
        if part := _stage(self._staging, self.n_contexts if start is None else start, block, self._shape):
            bisect.insort(self._parts, part)
            if self._remote:
                self._remote.send(part)

    def collect(self) -> None:
        """Take over what other processes have staged by `stage_block`; none of them may be at it any more.

        Raises:
            StoreError: a part is damaged, or cannot be read where parts come together.
        """
        if self._remote:
            for part in self._remote.parts(self._staging):
                if not part.contexts.exists():
                    self._remote.fetch(part)
        self._parts = sweep(self._staging)

    def unattributed(self, n: int, contexts_at_once: int) -> Iterator[Unattributed]:
        """When everything is staged: the n strongest examples of every feature of which `attribute` has not yet said
        what they are made of, in runs of so many contexts.

        Raises:
            StoreError: a part is damaged, or nothing can be written.
        """
        n_latents, length = self._shape
        return attribution.unattributed(self._staging, self._parts, length, n_latents, n, contexts_at_once)

    def attribute(self, examples: Unattributed, sources: NDArray[np.float32], heads: NDArray[np.float32]) -> None:
        """Stage what examples of an SAE of attention outputs are made of.

        Args:
            examples: as `unattributed` gave them.
            sources: float32[sum(position + 1)], what every position 0 … position adds to an example's pre-activation,
                the examples end to end.
            heads: float32[examples, heads], what every head adds.

        Raises:
            StoreError: the arrays do not fit the examples or are not finite, or the disk is full.
        """
        attribution.stage(examples, sources, heads)

    def finish(
        self,
        destination: str | Path,
        index_id: str,
        documents: Sequence[tuple[str, int, str]],
        vocabulary: Sequence[bytes],
        decoder: DecoderTables,
        memory: int = MEMORY,
    ) -> Path:
        """Sort everything staged into `destination/<index_id>.<content hash>.duckdb`, then remove the staging folder.

        Args:
            destination: folder of finished indexes.
            index_id: `<SAE id>.<corpus id>`.
            documents: (name, size in bytes, sha256) by document number.
            vocabulary: bytes of each token id; of special tokens their name.
            decoder: tables made from the SAE's weights.
            memory: bytes that the finaliser and its helper processes aim at together, from 256 MiB on: it sets how
                many helpers there are and how much is sorted at once. The file is the same.

        Returns:
            The finished file, complete and forced to the disk.

        Raises:
            StoreError: nothing was staged, the tables do not fit, a part is damaged or the disk is full. What is
                staged stays, so that the same command can be run again.
        """
        split_index_id(index_id)
        if memory < LEAST_MEMORY:
            raise StoreError(f"an index cannot be built in {memory} bytes; allow {LEAST_MEMORY >> 20} MiB or more")
        if not self._parts:
            raise StoreError(f"nothing to index for {index_id}: the corpus has no contexts")
        if self.n_contexts < self._parts[-1].stop:
            raise StoreError(
                f"contexts from {self.n_contexts} on are missing in {self._staging}; processes on several machines "
                "need index.parts, a folder or URL that all of them reach"
            )
        decoder.check(self._n_latents, len(vocabulary))
        with explained("cannot write", self._staging):
            text = canonical_json([list(document) for document in documents])
            write_atomically(self._staging / DOCUMENTS, lambda path: _write(path, text.encode()))
            write_atomically(self._staging / INPUTS, lambda path: _save_inputs(path, vocabulary, decoder))
        path = _build_elsewhere(self._staging, Path(destination), index_id, memory, self._lock.fileno())
        with explained("cannot remove", self._staging):
            remove_folder(self._staging)
            if self._remote:
                self._remote.remove()
            self._parts = []
            _lock_path(self._staging).unlink(missing_ok=True)
            self.close()
        return path


def stage_block(
    staging: str | Path, n_latents: int, context_length: int, block: ContextBlock, start: int, parts: str | None = None
) -> None:
    """Stage contexts from number `start` on beside an IndexWriter that another process has opened with `parts`, which
    takes them over by `collect`.

    Raises:
        StoreError: the block makes no sense (says why), or it cannot be written.
    """
    if parts is None:
        _stage(Path(staging), start, block, (n_latents, context_length))
        return
    with tempfile.TemporaryDirectory() as folder:
        if part := _stage(Path(folder), start, block, (n_latents, context_length)):
            Remote(parts, Path(staging).name).send(part)


def _stage(staging: Path, start: int, block: ContextBlock, shape: tuple[int, int]) -> Part | None:
    block.check(*shape)
    if len(block.tokens) == 0:
        return None
    part = Part(staging, start, start + len(block.tokens))
    write_part(part, block)
    return part


def find_index(destination: str | Path, index_id: str, provenance: dict[str, Any]) -> Path | None:
    """The finished index of this id if it was made from just this provenance, so that nothing is done twice."""
    path = index_files(Path(destination)).get(index_id)
    if path is None:
        return None
    found = read_meta(path)["provenance"]
    return path if canonical_json(found) == canonical_json(provenance) else None


def _lock_path(staging: Path) -> Path:
    return staging.with_name(staging.name + ".lock")


def _lock(staging: Path) -> IO[bytes]:
    """A lock that ends with the last process that holds it, this one or the finaliser it started."""
    try:
        return acquire(_lock_path(staging), _PATIENCE)
    except BlockingIOError:
        raise StoreError(f"another process is building {staging.name}; wait until it has finished") from None


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _save_inputs(path: Path, vocabulary: Sequence[bytes], decoder: DecoderTables) -> None:
    arrays = {field.name: getattr(decoder, field.name) for field in fields(DecoderTables)}
    lengths = np.array([len(piece) for piece in vocabulary], np.int64)
    with path.open("wb") as file:
        text = np.frombuffer(b"".join(vocabulary), np.uint8)
        np.savez(file, vocabulary=text, vocabulary_lengths=lengths, **arrays)


def _build_elsewhere(staging: Path, destination: Path, index_id: str, memory: int, lock: int) -> Path:
    """Run the finaliser in a process whose allocator clears memory (see `store.canonical`)."""
    package = str(Path(__file__).resolve().parent.parent)
    search = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    arguments = [str(staging.resolve()), str(destination.resolve()), index_id, str(memory)]
    command = [sys.executable, "-m", "store.build", *arguments]
    environment = {**os.environ, **CLEARED, "PYTHONPATH": search}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, pass_fds=[lock], check=False)
    if done.returncode == 0:
        return Path(done.stdout.strip().splitlines()[-1])
    last = (done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"])[-1]
    raise StoreError(
        last if done.returncode == 3 else f"building {index_id} failed: {last}; run the same command again"
    )
