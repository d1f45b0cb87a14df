"""The shuffle ring: a stream of activations in, shuffled batches out, at one times the memory of the ring.

Decisions: the ring is walked in passes. Each pass visits all slots once in a random order; a visited row goes out and
the stream's next row takes its slot. So every row goes out exactly once, less than two ring lengths after it came in,
and each batch is a random sample of what a whole ring holds. The orders come from (seed, pass) alone. Hence the
contents of the ring at any moment are a function of the stream, and a checkpoint holds no rows: a resumed ring reads
the stream again from where the pass before began, at most two ring lengths back.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.errors import UserError
from saebench.training.prefetch import prefetch

MAX_EMPTY_BLOCKS = 10_000


class BlockSource(Protocol):
    """An endless, deterministic stream of activations in blocks."""

    d_model: int

    def blocks(self, start: int = 0) -> Iterator[Float[Tensor, "rows d_model"]]:
        """Blocks from number `start` on; rows of special tokens are left out already."""
        ...


@dataclass(frozen=True)
class Place:
    """A row of the stream: the block it is in, its row there, and a hash that recognises the block."""

    block: int
    row: int
    sha256: str


class Stream:
    """A source's rows one after the other, from a place on."""

    def __init__(self, source: BlockSource, start: Place | None = None) -> None:
        self._source = source
        self._number = start.block if start else 0
        self._blocks = prefetch(source.blocks(self._number))
        self._block = self._next_block()
        self._row = start.row if start else 0
        if start and self.place().sha256 != start.sha256:
            raise UserError(
                f"block {start.block} of the activations is not the one this run trained on; "
                "restore the harvest, or train into another folder"
            )

    @property
    def dtype(self) -> torch.dtype:
        """Of the source's blocks."""
        return self._block.dtype

    def place(self) -> Place:
        """Where the next row is."""
        data = self._block.contiguous().view(torch.uint8).numpy().tobytes()
        return Place(self._number, self._row, hashlib.sha256(data).hexdigest())

    def take(self, n: int) -> Float[Tensor, "n d_model"]:
        """The next n rows."""
        parts = []
        while n:
            if self._row >= len(self._block):
                self._number += 1
                self._block, self._row = self._next_block(), 0
            part = self._block[self._row : self._row + n]
            parts.append(part)
            self._row += len(part)
            n -= len(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _next_block(self) -> Float[Tensor, "rows d_model"]:
        for _ in range(MAX_EMPTY_BLOCKS):
            block = next(self._blocks, None)
            if block is None:
                raise UserError(f"the activations end at block {self._number}: the source is empty or was cut short")
            if block.ndim != 2 or block.shape[1] != self._source.d_model or not block.is_floating_point():
                raise UserError(
                    f"block {self._number} of the activations is {block.dtype} {tuple(block.shape)}, "
                    f"not rows of {self._source.d_model} floats; harvest it again"
                )
            if len(block):
                return block
            self._number += 1
        raise UserError(f"{MAX_EMPTY_BLOCKS} blocks of activations without a row; harvest other text")


class Ring:
    """Shuffled batches of a source. `state()` is what `Ring(..., state=…)` continues from, to the bit.

    `rows` is rounded up to whole batches.
    """

    def __init__(
        self, source: BlockSource, rows: int, batch: int, seed: int, state: dict[str, Any] | None = None
    ) -> None:
        self.batch = batch
        self.rows = -(-rows // batch) * batch
        self._seed = seed
        self._pass = state["pass"] if state else 1
        self._cursor = state["cursor"] if state else 0
        self._stream = Stream(source, Place(**state["before"]) if state else None)
        self._before = self._stream.place()
        self._ring = torch.empty(self.rows, source.d_model, dtype=self._stream.dtype)
        self._fill(self._order(self._pass - 1))
        self._now = self._stream.place()
        self._slots = self._order(self._pass)
        self._fill(self._slots[: self._cursor])

    def state(self) -> dict[str, Any]:
        """Where the ring is, as plain data: pass, rows given out in it, where the pass before began in the stream."""
        return {"pass": self._pass, "cursor": self._cursor, "before": asdict(self._before)}

    def sample(self, n: int) -> Float[Tensor, "n d_model"]:
        """Up to n random rows of the ring, in float32, without taking them."""
        return self._ring[self._slots[:n]].float()

    def next(self) -> Float[Tensor, "batch d_model"]:
        """The next batch, in float32."""
        if self._cursor == self.rows:
            self._pass, self._cursor = self._pass + 1, 0
            self._slots = self._order(self._pass)
            self._before, self._now = self._now, self._stream.place()
        slots = self._slots[self._cursor : self._cursor + self.batch]
        batch = self._ring[slots].float()
        self._ring[slots] = self._stream.take(self.batch)
        self._cursor += self.batch
        return batch

    def _fill(self, slots: Int[Tensor, " n"]) -> None:
        for start in range(0, len(slots), self.batch):
            part = slots[start : start + self.batch]
            self._ring[part] = self._stream.take(len(part))

    def _order(self, number: int) -> Int[Tensor, " rows"]:
        """The slots in the order of a pass; pass 0 fills them one after the other."""
        if number == 0:
            return torch.arange(self.rows)
        seed = int.from_bytes(hashlib.sha256(f"{self._seed} {number}".encode()).digest()[:8], "little", signed=True)
        return torch.randperm(self.rows, generator=torch.Generator().manual_seed(seed))
