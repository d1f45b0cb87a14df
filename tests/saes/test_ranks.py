"""Selections, means and variances over several ranks are those over everything: ranks as threads, many of them."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from saebench.kernels import Above, Kernel, PerBatch, PerLatent, PerToken, SparseCodes, encode
from saebench.kernels.codes import from_entries
from saebench.saes import losses
from saebench.saes.axis import UNDIVIDED, Axis
from saebench.saes.ranks import ALONE, Ranks

KERNEL = Kernel("reference")


@dataclass
class Meeting:
    """Where the threads of one axis exchange tensors."""

    size: int
    found: list[Any] = field(init=False)
    barrier: threading.Barrier = field(init=False)

    def __post_init__(self) -> None:
        self.found = [None] * self.size
        self.barrier = threading.Barrier(self.size, timeout=20)

    def exchange(self, rank: int, tensor: Tensor) -> list[Tensor]:
        self.found[rank] = tensor
        self.barrier.wait()
        everything = list(self.found)
        self.barrier.wait()
        return everything


@dataclass(frozen=True)
class ThreadAxis(Axis):
    """An axis whose processes are threads."""

    meeting: Meeting | None = None

    def gather(self, tensor: Tensor) -> list[Tensor]:
        assert self.meeting
        return self.meeting.exchange(self.rank, tensor.detach())

    def sum(self, tensor: Tensor) -> Tensor:
        return torch.stack(self.gather(tensor)).sum(0).to(tensor.dtype)

    def min(self, tensor: Tensor) -> Tensor:
        return torch.stack(self.gather(tensor)).amin(0)

    def any(self, tensor: Tensor) -> bool:
        return bool(torch.stack(self.gather(tensor.any())).any())


def on_ranks(tokens: int, latents: int, work: Callable[[Ranks], Any]) -> list[Any]:
    """`work` on a grid of ranks, rank (t, l) at t · latents + l."""
    everyone = Meeting(tokens * latents)
    rows, columns = [Meeting(latents) for _ in range(tokens)], [Meeting(tokens) for _ in range(latents)]
    grid = [
        Ranks(
            ThreadAxis(t, tokens, None, columns[la]) if tokens > 1 else UNDIVIDED,
            ThreadAxis(la, latents, None, rows[t]) if latents > 1 else UNDIVIDED,
            ThreadAxis(t * latents + la, tokens * latents, None, everyone),
        )
        for t in range(tokens)
        for la in range(latents)
    ]
    with ThreadPoolExecutor(len(grid)) as pool:
        return list(pool.map(work, grid))


def selected(tokens: int, latents: int, x: Tensor, W: Tensor, b: Tensor, selection: Any) -> Tensor:
    """The dense codes of all, put together from what each rank of a grid selects of its own."""

    def work(ranks: Ranks) -> SparseCodes:
        own = ranks.share(x), ranks.own(W), ranks.own(b)
        match selection:
            case PerLatent(budgets):
                mine: Any = PerLatent(ranks.own(budgets))
            case Above(thresholds):
                mine = Above(ranks.own(thresholds))
            case _:
                mine = selection
        return ranks.select(mine, len(own[0]), lambda asked: encode(*own, asked, kernel=KERNEL))

    found = on_ranks(tokens, latents, work)
    rows = []
    for t in range(tokens):
        parts = [codes.to_dense() for codes in found[t * latents : (t + 1) * latents]]
        rows.append(torch.stack(parts, 2).flatten(1))
    return torch.cat(rows)


GRIDS = [(2, 1), (1, 2), (3, 1), (1, 4), (2, 2)]


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(GRIDS), st.integers(0, 10**6), st.integers(1, 5), st.integers(0, 13), st.booleans())
def test_a_selection_over_ranks_is_the_selection(grid, seed, k, n, skewed):
    g = torch.Generator().manual_seed(seed)
    x, W, b = torch.randn(n, 6, generator=g), torch.randn(24, 6, generator=g), torch.randn(24, generator=g)
    if skewed:  # one rank holds nearly everything that is large
        x[: n // 3] *= 10
        W[:: grid[1]] *= 10
    budgets = torch.randint(0, max(n, 1) + 3, (24,), generator=g)
    for selection in (PerToken(k), PerBatch(k), PerBatch(k, 0.7), PerLatent(budgets), Above(b)):
        ours = selected(*grid, x, W, b, selection)
        truth = encode(x, W, b, selection, kernel=KERNEL).to_dense()
        torch.testing.assert_close(ours, truth, msg=lambda text, s=selection: f"{s}: {text}")


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_values_at_the_cut_are_not_taken_twice(grid, dtype):
    x, W, b = torch.ones(12, 3, dtype=dtype), torch.ones(24, 3, dtype=dtype), torch.zeros(24, dtype=dtype)
    assert (selected(*grid, x, W, b, PerToken(5)) > 0).sum(1).tolist() == [5] * 12
    assert (selected(*grid, x, W, b, PerBatch(5)) > 0).sum() == 60
    budgets = torch.arange(24) % 14
    assert (selected(*grid, x, W, b, PerLatent(budgets)) > 0).sum(0).tolist() == budgets.clamp(max=12).tolist()


@pytest.mark.parametrize("grid", GRIDS)
def test_top_of_wider_codes(grid):
    g = torch.Generator().manual_seed(0)
    dense = torch.rand(10, 24, generator=g)
    tokens, latents = (dense > 0.3).nonzero(as_tuple=True)

    def work(ranks: Ranks) -> Tensor:
        own = ranks.own(ranks.share(dense * (dense > 0.3)).T).T
        t, la = own.nonzero(as_tuple=True)
        return ranks.top(from_entries(own[t, la], t, la, tuple(own.shape)), 4).to_dense()

    found = on_ranks(*grid, work)
    rows = [torch.stack(found[t * grid[1] : (t + 1) * grid[1]], 2).flatten(1) for t in range(grid[0])]
    truth = from_entries(dense[tokens, latents], tokens, latents, (10, 24)).top(4).to_dense()
    assert torch.equal(torch.cat(rows), truth)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("n", [0, 1, 11])
def test_statistics_of_a_batch(grid, n):
    g = torch.Generator().manual_seed(n)
    x = torch.randn(n, 4, generator=g) + 100
    per_latent = torch.rand(n, 24, generator=g, requires_grad=True)
    truth = per_latent.sum(1).mean() if n else torch.tensor(0.0)

    def work(ranks: Ranks) -> tuple[Tensor, Tensor, int, bool, Tensor]:
        own = ranks.own(ranks.share(per_latent).T).T
        local = own.sum() / max(len(own), 1)
        mask = ranks.own(torch.arange(24) == 23)
        return (
            ranks.variance(ranks.share(x)), ranks.mean(local, len(own)), ranks.count(len(own)),
            ranks.any(mask), ranks.whole(ranks.own(torch.arange(24))),
        )  # fmt: skip

    for variance, mean, count, found, numbers in on_ranks(*grid, work):
        torch.testing.assert_close(variance, losses.variance(x), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(mean, truth)
        assert (count, found) == (n, True)
        assert numbers.tolist() == list(range(24))


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("n", [1, 7, 16, 29])
def test_every_third_token_of_a_batch(grid, n):
    x = torch.rand(n)

    def work(ranks: Ranks) -> tuple[list[float], float]:
        own = ranks.share(x)
        some, correction = ranks.every(3, len(own))
        mean = own[some].mean().item() if len(own[some]) else 0.0
        return own[some].tolist(), mean * correction * len(own) / n

    found = on_ranks(*grid, work)[:: grid[1]]
    assert [value for values, _ in found for value in values] == x[::3].tolist()
    assert sum(mean for _, mean in found) == pytest.approx(x[::3].mean().item())


@pytest.mark.parametrize("grid", GRIDS)
def test_gradients_of_a_combined_number_add_up(grid):
    """The ranks' gradients of share × f(mean) sum to the gradient of f(mean) in one process."""
    whole = torch.rand(11, 24, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    (whole.square().sum() / 11 - 3).square().backward()

    def work(ranks: Ranks) -> Tensor:
        own = ranks.own(ranks.share(whole.detach()).T.contiguous()).T.clone().requires_grad_()
        total = (ranks.mean(own.square().sum() / len(own), len(own)) - 3).square()
        (total * len(own) / 11).backward()
        assert own.grad is not None
        return own.grad

    found = on_ranks(*grid, work)
    rows = [torch.stack(found[t * grid[1] : (t + 1) * grid[1]], 2).flatten(1) for t in range(grid[0])]
    torch.testing.assert_close(torch.cat(rows), whole.grad)


def test_alone_everything_is_what_it_was():
    x = torch.randn(3, 2)
    assert ALONE.first
    for function in (ALONE.share, ALONE.own, ALONE.whole, ALONE.added, ALONE.counted_once, ALONE.number):
        assert function(x) is x or torch.equal(function(x), x)
    assert ALONE.count(7) == 7
