"""The shuffle ring: every row once, well mixed, and continued to the bit from plain data."""

import json
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from saebench.errors import UserError
from saebench.training import Ring


class Counting:
    """Row i of the stream holds i; blocks have the given sizes over and over, some of them empty."""

    def __init__(self, sizes: list[int], d_model: int = 2, shift: float = 0.0, dtype: torch.dtype = torch.float32):
        self.sizes, self.d_model, self.shift, self.dtype = sizes, d_model, shift, dtype

    def blocks(self, start: int = 0) -> Iterator[Tensor]:
        cycles, rest = divmod(start, len(self.sizes))
        row = cycles * sum(self.sizes) + sum(self.sizes[:rest])
        while True:
            size = self.sizes[start % len(self.sizes)]
            yield (torch.arange(row, row + size)[:, None] + self.shift).expand(size, self.d_model).to(self.dtype)
            start, row = start + 1, row + size


sizes = st.lists(st.integers(0, 30), min_size=1, max_size=5).filter(any)


@settings(deadline=None, max_examples=60)
@given(sizes, st.integers(1, 60), st.integers(1, 20), st.integers(0, 1000), st.integers(1, 30))
def test_every_row_goes_out_once_and_soon(sizes, rows, batch, seed, batches):
    ring = Ring(Counting(sizes), rows, batch, seed)
    out = torch.cat([ring.next()[:, 0] for _ in range(batches)]).long()
    assert ring.rows >= rows
    assert ring.rows % batch == 0
    assert len(set(out.tolist())) == len(out)
    assert out.max() < len(out) + ring.rows
    came_in = (out - ring.rows + 1).clamp(min=0)  # a row comes in with the batch that goes out before it
    waited = torch.arange(len(out)) - came_in
    assert waited.max() < 2 * ring.rows
    passes = len(out) // ring.rows
    if passes:  # a whole pass gives out exactly what the ring held when it began
        assert sorted(out[: ring.rows].tolist()) == list(range(ring.rows))


@settings(deadline=None, max_examples=60)
@given(sizes, st.integers(1, 60), st.integers(1, 20), st.integers(0, 1000), st.integers(0, 40))
def test_continues_from_its_state_to_the_bit(sizes, rows, batch, seed, batches):
    ring = Ring(Counting(sizes), rows, batch, seed)
    for _ in range(batches):
        ring.next()
    again = Ring(Counting(sizes), rows, batch, seed, json.loads(json.dumps(ring.state())))
    assert again.state() == ring.state()
    for _ in range(20):
        assert torch.equal(again.next(), ring.next())


def test_batches_are_samples_of_the_whole_ring():
    ring = Ring(Counting([700]), 20_000, 500, seed=0)
    for number in range(80):
        out = ring.next()[:, 0]
        first = 0 if number < 40 else 20_000 if number < 80 else None
        spread = (out - first) / 20_000
        assert abs(spread.mean() - 0.5) < 5 * (1 / 12 / 500) ** 0.5
        assert abs(spread.std() - 12**-0.5) < 0.05
        assert (out.sort().values.diff() == 1).sum() < 50  # neighbours in the stream: 12.5 expected, 499 unshuffled
        assert abs(torch.corrcoef(torch.stack([out, torch.arange(500.0)]))[0, 1]) < 0.25


def test_seeds_differ_and_the_sample_takes_nothing():
    a, b = (Ring(Counting([64]), 1000, 50, seed) for seed in (0, 1))
    state = a.state()
    sample = a.sample(300)
    assert a.state() == state
    assert torch.equal(sample[:50], a.next())
    assert not torch.equal(sample[:50], b.next())
    assert len(b.sample(10_000)) == 1000


def test_keeps_the_dtype_of_the_source_and_gives_float32():
    ring = Ring(Counting([64], dtype=torch.float16), 100, 10, 0)
    assert ring._ring.dtype == torch.float16
    assert ring.next().dtype == torch.float32


def test_other_activations_are_noticed_on_resume():
    ring = Ring(Counting([64]), 100, 10, 0)
    with pytest.raises(UserError, match="block 0 of the activations is not the one"):
        Ring(Counting([64], shift=1.0), 100, 10, 0, ring.state())


class Blocks:
    def __init__(self, *blocks: Tensor):
        self.d_model, self._blocks = 2, blocks

    def blocks(self, start: int = 0) -> Iterator[Tensor]:
        yield from self._blocks[start:]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Blocks(), "empty or was cut short"),
        (Blocks(torch.ones(30, 2)), "end at block 1: the source is empty or was cut short"),
        (Counting([0]), "without a row"),
        (Blocks(torch.ones(200, 3)), r"block 0 of the activations is torch.float32 \(200, 3\), not rows of 2"),
        (Blocks(torch.ones(200, 2, dtype=torch.int64)), "not rows of 2 floats"),
    ],
)
def test_bad_sources_are_one_clear_line(source, message):
    with pytest.raises(UserError, match=message) as caught:
        Ring(source, 100, 10, 0)
    assert "\n" not in str(caught.value)
