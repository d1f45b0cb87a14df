"""Immutable Parquet parts of an index under construction: one pair (codes, contexts) per block of contexts.

The part of contexts is renamed into place last: a block counts as staged when it is there.
"""

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from store.blocks import ContextBlock
from store.errors import StoreError, explained
from store.files import TEMPORARY, write_atomically
from store.halfs import to_bits

MANIFEST = "manifest.json"
DOCUMENTS = "documents.json"
INPUTS = "inputs.npz"
_PART = re.compile(r"contexts-(\d{10})-(\d{10})\.parquet")


@dataclass(frozen=True, order=True)
class Part:
    """Contexts `start` to `stop` (exclusive) of the index."""

    folder: Path
    start: int
    stop: int

    @property
    def contexts(self) -> Path:
        """The file of contexts."""
        return self.folder / f"contexts-{self.start:010d}-{self.stop:010d}.parquet"

    @property
    def codes(self) -> Path:
        """The file of codes."""
        return self.folder / f"codes-{self.start:010d}-{self.stop:010d}.parquet"


def canonical_json(value: Any) -> str:
    """JSON with sorted keys: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def open_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Create the folder with a manifest, or check that the one there agrees.

    Raises:
        StoreError: the folder belongs to another SAE, model, corpus or configuration; names what differs.
    """
    path = folder / MANIFEST
    if path.exists():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise StoreError(f"{path} is damaged; delete the folder {folder} and run again") from None
        differing = differences(found, manifest)
        if differing:
            raise StoreError(
                f"{folder} holds an unfinished index of something else (different {', '.join(differing)}); "
                "delete that folder to start anew"
            )
        return
    with explained("cannot write", path):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda temporary: _write_text(temporary, canonical_json(manifest)))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def differences(found: Any, manifest: dict[str, Any]) -> list[str]:
    """The names of what differs between a manifest as it was read and one as it should be, sorted."""
    return sorted(_differences(found, json.loads(canonical_json(manifest))))


def _differences(found: Any, wanted: Any, name: str = "") -> Iterator[str]:
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in found.keys() | wanted.keys():
            yield from _differences(found.get(key), wanted.get(key), f"{name}.{key}" if name else key)
    elif found != wanted:
        yield name or "manifest"


def sweep(folder: Path) -> list[Part]:
    """The finished parts in order, perhaps with gaps, after removing what a killed process left half done.

    Raises:
        StoreError: a finished part is damaged, or two hold the same contexts.
    """
    parts = parts_named(folder, (path.name for path in folder.iterdir()))
    for part in parts:
        _check(part)
    kept = {MANIFEST, *(p.contexts.name for p in parts), *(p.codes.name for p in parts)}
    for path in folder.iterdir():
        if path.is_file() and path.name not in kept and (path.suffix == TEMPORARY or path.suffix == ".parquet"):
            path.unlink()
    return parts


def parts_named(folder: Path, names: Iterable[str]) -> list[Part]:
    """The parts of a folder that are finished, given the names of its files, in order.

    Raises:
        StoreError: two hold the same contexts.
    """
    found = (match for match in map(_PART.fullmatch, sorted(names)) if match)
    parts = [Part(folder, int(match[1]), int(match[2])) for match in found]
    for one, other in itertools.pairwise(parts):
        if other.start < one.stop:
            raise StoreError(f"{one.contexts} and {other.contexts} hold the same contexts; delete the folder {folder}")
    return parts


def first_gap(parts: Sequence[Part]) -> int:
    """The first context that is in no part; parts in order."""
    stop = 0
    for part in parts:
        if part.start != stop:
            break
        stop = part.stop
    return stop


def _check(part: Part) -> None:
    if _rows(part.contexts) != part.stop - part.start:
        raise _damaged(part.contexts)
    _rows(part.codes)


def _rows(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException):
        raise _damaged(path) from None


def _damaged(path: Path) -> StoreError:
    return StoreError(f"{path} is damaged; delete the folder {path.parent} and run the same command again")


def write_part(part: Part, block: ContextBlock) -> None:
    """Stage one checked block.

    Raises:
        StoreError: the disk is full or the folder cannot be written; nothing is left behind then.
    """
    with explained("cannot write", part.codes):
        delta = {"column_encoding": dict.fromkeys(("place", "feature"), "DELTA_BINARY_PACKED")}
        write_atomically(part.codes, lambda path: write_table(_code_table(block, part.start), path, "lz4", **delta))
    with explained("cannot write", part.contexts):
        write_atomically(part.contexts, lambda path: write_table(_context_table(block, part.start), path, "zstd"))


def write_table(table: pa.Table, path: Path, compression: str, **options: Any) -> None:
    """Write Parquet with checksums, without dictionaries, which take five times as long to read back."""
    checked = {"write_page_checksum": True, "use_dictionary": False, **options}
    pq.write_table(table, path, compression=compression, **checked)


def _code_table(block: ContextBlock, first_context: int) -> pa.Table:
    first = first_context * block.tokens.shape[1]
    places = np.repeat(np.arange(first, first + block.tokens.size), np.diff(block.offsets))
    features, halves = block.features.astype(np.int32, copy=False), to_bits(block.values)
    if not (kept := halves > 0).all():
        places, features, halves = places[kept], features[kept], halves[kept]
    same = places[1:] == places[:-1]
    if (same & (features[1:] <= features[:-1])).any():
        order = np.argsort((places << 32) | features, kind="stable")
        features, halves = features[order], halves[order]  # within a token: the places stay as they are
        if (same & (features[1:] == features[:-1])).any():
            raise StoreError("this block of contexts cannot be stored: a token has the same feature twice")
    return pa.table({"place": places, "feature": features, "half": halves})


def _context_table(block: ContextBlock, first_context: int) -> pa.Table:
    n, length = block.tokens.shape
    spans = np.diff(block.bounds, axis=1).astype(np.int32)
    spans[block.special] = -1
    segments = [{"position": p, "document": d, "byte": b} for context in block.segments for p, d, b in context]
    offsets = np.concatenate([[0], np.cumsum([len(context) for context in block.segments])])
    segment = pa.struct({"position": pa.int32(), "document": pa.int32(), "byte": pa.int64()})
    return pa.table({
        "context": np.arange(first_context, first_context + n, dtype=np.int32),
        "tokens": lists(block.tokens.astype(np.int32).ravel(), np.arange(n + 1) * length),
        "spans": lists(spans.ravel(), np.arange(n + 1) * length),
        "source": pa.array(block.source, pa.binary()),
        "segments": pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(segments, segment)),
    })  # fmt: skip


def lists(values: NDArray[Any], offsets: NDArray[np.integer[Any]]) -> pa.ListArray:
    """values[offsets[i]:offsets[i + 1]] as lists."""
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values))


def read(path: Path) -> pa.Table:
    """A part's table, its page checksums verified.

    Raises:
        StoreError: it is damaged.
    """
    try:
        return pq.read_table(path, page_checksum_verification=True, memory_map=False, partitioning=None)
    except (OSError, pa.ArrowException):
        raise _damaged(path) from None
