"""The largest positive entries of each row of a ragged matrix, as many as each row asks for.

Decisions:
- The bits of positive floats order like integers, so the k-th largest is found bit by bit: count the entries at or
  above a candidate, keep the bit if there are k. At most 31 passes over a row that lies in the cache, fewer where a
  candidate splits off exactly k; no sorting, no scratch memory, rows of any length.
- Ties at the cut are taken from the left: the same inputs give the same entries.
- Entries at or below zero are never taken. NaN counts as larger than Inf, so that it shows in the result.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from saebench.kernels.triton.launch import interpreted, launch

BLOCKS = {"ROWS": 4, "BLOCK": 1024, "num_warps": 4}
INTERPRETED = {"ROWS": 64, "BLOCK": 256}  # fewer programs, of which the interpreter runs a thousand per second
NAN_BITS = tl.constexpr(0x7FC00000)
LARGEST_BITS = tl.constexpr(0x7FFFFFFF)


class Cuts(NamedTuple):
    """Where each row is cut."""

    bits: Int[Tensor, " rows"]
    """Bits of a float32 that the row's k largest positive entries reach; 0 where it has fewer than k."""
    ties: Int[Tensor, " rows"]
    """How many of the entries equal to it are taken."""
    counts: Int[Tensor, " rows"]
    """How many entries are taken."""


def cuts(values: Float[Tensor, " all"], starts: Int[Tensor, " rows+1"], ks: Int[Tensor, " rows"]) -> Cuts:
    """The cut below the ks[r] largest positive entries of each row values[starts[r]:starts[r+1]]."""
    found = Cuts(*torch.empty(3, len(ks), dtype=torch.int32, device=values.device))
    _launch(_cuts, values, starts, ks, *found, n_rows=len(ks))
    return found


def largest(
    values: Float[Tensor, " all"], starts: Int[Tensor, " rows+1"], ks: Int[Tensor, " rows"]
) -> Int[Tensor, " taken"]:
    """Positions of the ks[r] largest positive entries of each row values[starts[r]:starts[r+1]], ascending."""
    found = cuts(values, starts, ks)
    ends = torch.cumsum(found.counts, 0)
    taken = torch.empty(int(ends[-1]) if len(ks) else 0, dtype=torch.int64, device=values.device)
    _launch(_take, values, starts, found.bits, found.ties, ends - found.counts, taken, n_rows=len(ks))
    return taken


def _launch(kernel: Any, *tensors: Tensor, n_rows: int) -> None:
    blocks = INTERPRETED if interpreted() else BLOCKS
    launch(kernel, (triton.cdiv(n_rows, blocks["ROWS"]),), *tensors, n_rows, **blocks)


@triton.jit
def _keys(values, start, length, column):
    """Bits of the positive entries, which order as they do; 0 for the others and beyond the row's end."""
    inside = column < length[:, None]
    value = tl.load(values + start[:, None] + column, mask=inside, other=0.0)
    bits = tl.where(value > 0, value.to(tl.int32, bitcast=True), 0)
    return tl.where(value != value, NAN_BITS, bits)


@triton.jit(do_not_specialize=["n_rows"])
def _cuts(
    values,
    starts,
    ks,
    bits,
    ties,
    counts,
    n_rows,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = row < n_rows
    start = tl.load(starts + row, mask=live, other=0)
    length = tl.load(starts + row + 1, mask=live, other=0) - start
    k = tl.load(ks + row, mask=live, other=0).to(tl.int32)
    longest = tl.max(length, axis=0)

    found = tl.where(k > 0, 0, LARGEST_BITS)
    unsettled = (k > 0).to(tl.int32)
    bit = 1 << 30
    while (bit > 0) & (tl.max(unsettled, axis=0) > 0):
        candidate = found | bit
        count = tl.zeros((ROWS,), tl.int32)
        for first in range(0, longest, BLOCK):
            key = _keys(values, start, length, first + tl.arange(0, BLOCK)[None, :])
            count += tl.sum((key >= candidate[:, None]).to(tl.int32), axis=1)
        found = tl.where((unsettled > 0) & (count >= k), candidate, found)
        unsettled = tl.where(count == k, 0, unsettled)
        bit = bit // 2

    above = tl.zeros((ROWS,), tl.int32)
    for first in range(0, longest, BLOCK):
        key = _keys(values, start, length, first + tl.arange(0, BLOCK)[None, :])
        above += tl.sum((key > found[:, None]).to(tl.int32), axis=1)
    tl.store(bits + row, found, mask=live)
    tl.store(ties + row, k - above, mask=live)
    tl.store(counts + row, tl.where(found > 0, k, above), mask=live)


@triton.jit(do_not_specialize=["n_rows"])
def _take(
    values,
    starts,
    bits,
    ties,
    offsets,
    taken,
    n_rows,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = row < n_rows
    start = tl.load(starts + row, mask=live, other=0)
    length = tl.load(starts + row + 1, mask=live, other=0) - start
    cut = tl.load(bits + row, mask=live, other=LARGEST_BITS)
    equal_left = tl.load(ties + row, mask=live, other=0)
    to = tl.load(offsets + row, mask=live, other=0)
    for first in range(0, tl.max(length, axis=0), BLOCK):
        column = first + tl.arange(0, BLOCK)[None, :]
        key = _keys(values, start, length, column)
        equal = ((key == cut[:, None]) & (key > 0)).to(tl.int32)
        take = (key > cut[:, None]) | ((equal > 0) & (tl.cumsum(equal, axis=1) <= equal_left[:, None]))
        taking = take.to(tl.int32)
        at = to[:, None] + tl.cumsum(taking, axis=1) - 1
        tl.store(taken + at, start[:, None] + column, mask=take)
        equal_left -= tl.sum(equal, axis=1)
        to += tl.sum(taking, axis=1)
