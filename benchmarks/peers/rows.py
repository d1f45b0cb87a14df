"""The activations that everyone trains on: one file of rows in a random order, read batch by batch."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


class Rows:
    """Batches of a .npy file, the same ones in the same order each time; what rows are left at the end stay unread."""

    def __init__(self, path: Path, batch: int, tokens: int) -> None:
        self.rows = np.load(path, mmap_mode="r")
        self.batch, self.steps = batch, tokens // batch
        self.d_model = self.rows.shape[1]
        if len(self.rows) < self.steps * batch:
            raise ValueError(f"{path} holds {len(self.rows)} rows, asked are {self.steps * batch}")

    def take(self, numbers: slice | np.ndarray) -> Tensor:
        """Rows by their numbers, in float32."""
        return torch.from_numpy(np.array(self.rows[numbers], dtype=np.float32))

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Tensor]:
        for step in range(self.steps):
            yield self.take(slice(step * self.batch, (step + 1) * self.batch))

    def blocks(self, start: int = 0) -> Iterator[Tensor]:
        """The batches again and again, from number `start` on: the source of our own trainer."""
        number = start
        while True:
            at = number % self.steps * self.batch
            yield self.take(slice(at, at + self.batch))
            number += 1
