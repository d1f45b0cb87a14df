"""Read activation shards as an endless, deterministic sequence of row blocks."""

import functools
import os
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from saebench.errors import UserError
from saebench.harvest.manifest import Manifest, check_file


class ShardSource:
    """Blocks of activation rows of one hook point, in an order drawn anew each epoch from `seed`.

    Rows of special tokens are left out. Shards are checked against their checksums when first touched; their files stay
    open as long as the source is in use, and no longer: a harvest of many hook points is read by as many sources.

    Attributes:
        d_model: width of a row.
        n_rows: rows of one epoch, special tokens included.
    """

    def __init__(self, folder: Path, hook_point: str, *, block_rows: int = 1024, seed: int = 0) -> None:
        self.folder = folder
        self.hook_point = hook_point
        self.block_rows = block_rows
        self.seed = seed
        self.manifest = Manifest.read(folder)
        if not self.manifest.complete:
            raise UserError(f"harvest {folder.name!r} is not finished; run `saebench harvest` again to complete it")
        if hook_point not in self.manifest.widths:
            raise UserError(f"harvest {folder.name!r} has no {hook_point!r}; it has: {', '.join(self.manifest.widths)}")
        self.d_model = self.manifest.widths[hook_point]
        self.n_rows = self.manifest.n_contexts * self.manifest.context_length
        self._opened: dict[int, tuple[int, Bool[Tensor, " rows"]]] = {}
        weakref.finalize(self, _close, self._opened)
        self._dtype: torch.dtype = getattr(torch, self.manifest.precision)
        self._blocks = [
            (number, first)
            for number, shard in enumerate(self.manifest.shards)
            for first in range(0, shard.contexts * self.manifest.context_length, block_rows)
        ]

    def blocks(self, start: int = 0) -> Iterator[Float[Tensor, "rows d_model"]]:
        """Yield float32 blocks for ever, from block number `start` of the sequence."""
        number = start
        while True:
            epoch, index = divmod(number, len(self._blocks))
            yield self._read(*self._blocks[self._order(epoch)[index]])
            number += 1

    def _order(self, epoch: int) -> np.ndarray:
        return _permutation(self.seed, epoch, len(self._blocks))

    def _open(self, shard: int) -> tuple[int, Bool[Tensor, " rows"]]:
        if shard in self._opened:
            return self._opened[shard]
        files = self.manifest.shards[shard].files
        contexts = check_file(self.folder, "contexts", shard, files["contexts"])
        special = pq.read_table(contexts, columns=["special"])["special"].combine_chunks().flatten()
        keep = torch.from_numpy(~special.to_numpy(zero_copy_only=False))
        path = check_file(self.folder, self.hook_point, shard, files[self.hook_point])
        self._opened[shard] = os.open(path, os.O_RDONLY), keep
        return self._opened[shard]

    def _read(self, shard: int, first: int) -> Float[Tensor, "rows d_model"]:
        descriptor, keep = self._open(shard)
        rows = min(self.block_rows, len(keep) - first)
        width = self.d_model * self._dtype.itemsize
        raw = bytearray(os.pread(descriptor, rows * width, first * width))
        block = torch.frombuffer(raw, dtype=self._dtype).view(rows, self.d_model)
        return block[keep[first : first + rows]].float()


@functools.lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, n: int) -> np.ndarray:
    """The order of an epoch's blocks."""
    return np.random.default_rng([seed, epoch]).permutation(n)


def _close(opened: dict[int, tuple[int, Bool[Tensor, " rows"]]]) -> None:
    for descriptor, _ in opened.values():
        os.close(descriptor)
