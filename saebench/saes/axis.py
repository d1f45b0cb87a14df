"""One direction in which work is split over processes, and the collectives along it; of size 1 it does nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class RankLostError(RuntimeError):
    """A collective did not come back: another process failed, or was killed."""


@dataclass(frozen=True)
class Axis:
    """`size` processes of which this is number `rank`. Collectives raise RankLostError where a process is gone."""

    rank: int = 0
    size: int = 1
    group: dist.ProcessGroup | None = None

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over the processes, equal on all; without gradient."""
        return self._reduce(tensor, dist.ReduceOp.SUM)

    def min(self, tensor: Tensor) -> Tensor:
        """The smallest over the processes, entry by entry."""
        return self._reduce(tensor, dist.ReduceOp.MIN)

    def any(self, tensor: Tensor) -> bool:
        """Whether anything is true on any process."""
        if self.size == 1:
            return bool(tensor.any())
        return bool(self._reduce(tensor.any().int(), dist.ReduceOp.MAX))

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """Every process's tensor (all of one shape), in the order of the ranks."""
        if self.size == 1:
            return [tensor]
        mine = tensor.detach().contiguous()
        found = [torch.empty_like(mine) for _ in range(self.size)]
        with _together():
            dist.all_gather(found, mine, group=self.group)
        return found

    def collect(self, tensor: Tensor) -> list[Tensor] | None:
        """As `gather`, on the first process only; None on the others."""
        if self.size == 1:
            return [tensor]
        mine = tensor.detach().contiguous()
        found = None if self.rank else [torch.empty_like(mine) for _ in range(self.size)]
        with _together():
            dist.gather(mine, found, group=self.group, group_dst=0)
        return found

    def copied(self, tensor: Tensor) -> Tensor:
        """The first process's tensor."""
        if self.size == 1:
            return tensor
        copy = tensor.detach().clone(memory_format=torch.contiguous_format)
        with _together():
            dist.broadcast(copy, group=self.group, group_src=0)
        return copy

    def from_first(self, data: Any) -> Any:
        """The first process's plain data."""
        if self.size == 1:
            return data
        box = [data]
        with _together():
            dist.broadcast_object_list(box, group=self.group, group_src=0)
        return box[0]

    def wait(self) -> None:
        """Until every process has come here."""
        self.sum(torch.zeros(1))

    def _reduce(self, tensor: Tensor, op: dist.ReduceOp.RedOpType) -> Tensor:
        if self.size == 1:
            return tensor
        total = tensor.detach().clone(memory_format=torch.contiguous_format)
        with _together():
            dist.all_reduce(total, op, group=self.group)
        return total


@contextmanager
def _together() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise RankLostError(str(error)) from None


UNDIVIDED = Axis()
