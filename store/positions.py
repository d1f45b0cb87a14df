"""What lies at every place (context * context_length + position) of an index, in files mapped into memory.

4 + 4 + 8 bytes per token, in the page cache rather than in the process.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from store.staging import Part, read

BEFORE, AFTER = 24, 16
"""The window of text shown with an example: tokens before and after its peak."""
SAME_BEFORE, SAME_AFTER = 8, 4
"""Two examples show the same text if these many tokens before and after the peak are equal."""
WINDOW = (BEFORE, AFTER, SAME_BEFORE, SAME_AFTER)


@dataclass(frozen=True)
class Positions:
    """Per place: token id, bytes of source (-1: special), hash of the tokens around it; where documents begin."""

    length: int
    tokens: NDArray[np.int32]
    spans: NDArray[np.int32]
    around: NDArray[np.uint64]
    segment_places: NDArray[np.int64]
    segment_documents: NDArray[np.int32]

    def documents_of(self, places: NDArray[np.int64]) -> NDArray[np.int32]:
        """Document number of each place."""
        return self.documents[places]

    @cached_property
    def documents(self) -> NDArray[np.int32]:
        """Document number of every place, -1 before the first document."""
        segment = np.searchsorted(self.segment_places, np.arange(len(self.tokens)), side="right")
        return np.concatenate([np.array([-1], np.int32), self.segment_documents])[segment]

    def ordinary(self) -> NDArray[np.int64]:
        """Places of tokens that are not special."""
        return np.flatnonzero(self.spans >= 0)

    @cached_property
    def opening(self) -> NDArray[np.bool_]:
        """Which places hold the first ordinary token of their context."""
        ordinary = (self.spans >= 0).reshape(-1, self.length)
        out = np.zeros(ordinary.shape, bool)
        out[np.arange(len(out)), ordinary.argmax(1)] = True
        return out.ravel()


def map_positions(parts: Sequence[Part], length: int, scratch: Path) -> Positions:
    """Spread the staged contexts over files in `scratch`, for `open_positions`."""
    n = parts[-1].stop * length
    tokens, spans = _file(scratch / "tokens", np.int32, n), _file(scratch / "spans", np.int32, n)
    around = _file(scratch / "around", np.uint64, n)
    segments: list[NDArray[np.int64]] = []
    for part in parts:
        table = read(part.contexts)
        here = slice(part.start * length, part.stop * length)
        tokens[here], spans[here] = flat(table["tokens"]), flat(table["spans"])
        around[here] = hashes_around(tokens[here].reshape(-1, length)).ravel()
        segments.append(_segments(table, length))
    np.save(scratch / "segments.npy", np.concatenate(segments)[:, :2])
    return open_positions(length, scratch)


def open_positions(length: int, scratch: Path) -> Positions:
    """What `map_positions` has written."""
    kinds = {"tokens": np.int32, "spans": np.int32, "around": np.uint64}
    mapped = {name: np.memmap(scratch / name, kind, "r") for name, kind in kinds.items()}
    segments = np.load(scratch / "segments.npy")
    return Positions(length, **mapped, segment_places=segments[:, 0], segment_documents=segments[:, 1].astype(np.int32))


def _file(path: Path, dtype: Any, size: int) -> NDArray[Any]:
    return np.memmap(path, dtype, "w+", shape=(size,))


def flat(column: pa.ChunkedArray) -> NDArray[Any]:
    """The values of a column of lists, end to end."""
    return column.combine_chunks().flatten().to_numpy()


def _segments(table: pa.Table, length: int) -> NDArray[np.int64]:
    column = table["segments"].combine_chunks()
    structs = column.flatten()
    counts = np.diff(column.offsets.to_numpy())
    contexts = np.repeat(table["context"].to_numpy().astype(np.int64), counts)
    names = ("position", "document", "byte")
    position, document, byte = (structs.field(name).to_numpy().astype(np.int64) for name in names)
    return np.stack([contexts * length + position, document, byte], axis=1)


def hashes_around(tokens: NDArray[np.int32]) -> NDArray[np.uint64]:
    """uint64[n, L]: a hash of the tokens from SAME_BEFORE before to SAME_AFTER after each, within its context."""
    padded = np.pad(tokens.astype(np.uint64) + np.uint64(1), ((0, 0), (SAME_BEFORE, SAME_AFTER)))
    out = np.zeros(tokens.shape, np.uint64)
    for offset in range(SAME_BEFORE + 1 + SAME_AFTER):
        out = mix(out ^ padded[:, offset : offset + tokens.shape[1]])
    return out


def mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64: spreads 64 bits evenly over 64 bits (Steele, Lea, Flood 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
