"""Gradients over the entries sorted by latent: weighted sums per latent, and inner products per entry.

Decisions:
- A latent's entries are cut into chunks of 256, one program per chunk (and block of columns). A latent of one chunk is
  written at once; the chunks of a hot one go to a side table and are added in their order by a second kernel. No
  atomics: the same inputs give the same bits, and no latent holds the others up.
- The inner product of an entry is ⟨table row of its token, W row of its latent⟩. Both passes of the decoder's backward
  need the same table rows, so one kernel does both. Inner products come as partial sums per block of columns.
- How many chunks there are is worked out on the device; the grid has room for the most there can be, and programs
  beyond the last return at once. So the host waits for nothing.
- Blocks of columns are the slowest axis of the grid: the table's columns in flight stay in the L2 cache.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from saebench.kernels.codes import SparseCodes
from saebench.kernels.triton.launch import launch

CHUNK = 256
BLOCKS = {"ENTRIES": 8, "COLUMNS": 256, "num_warps": 4}


class Chunks(NamedTuple):
    """The entries of some codes, sorted by latent and cut into chunks."""

    order: Int[Tensor, " nnz"]
    tokens: Int[Tensor, " nnz"]
    offsets: Int[Tensor, " n_latents+1"]
    starts: Int[Tensor, " n_latents+1"]
    """First chunk of each latent; each has one at least."""
    latents: Int[Tensor, " most_chunks"]
    """Latent of each chunk; n_latents beyond the last chunk."""
    hot_starts: Int[Tensor, " n_latents+1"]
    """First row in the side table of each latent of more than one chunk."""
    hot: Int[Tensor, " most_hot"]
    """The latents of more than one chunk, then n_latents."""


def chunks(codes: SparseCodes) -> Chunks:
    """The entries sorted by latent and cut into chunks."""
    order, tokens, offsets = codes.pattern.by_latent
    device, nnz = offsets.device, len(order)
    counts = ((offsets.diff() + CHUNK - 1) // CHUNK).clamp(min=1)
    starts = _running(counts)
    many = counts > 1
    latents = torch.searchsorted(starts[1:], torch.arange(codes.n_latents + nnz // CHUNK, device=device), right=True)
    hot = torch.searchsorted(_running(many)[1:], torch.arange(1, nnz // CHUNK + 1, device=device))
    return Chunks(order, tokens, offsets, starts, latents, _running(counts * many), hot)


def by_latent(
    parts: Chunks,
    table: Float[Tensor, "tokens d"],
    weights: Float[Tensor, " nnz"] | None,
    rows: Float[Tensor, "n_latents d"] | None = None,
) -> tuple[Float[Tensor, "n_latents d"] | None, Float[Tensor, " nnz"] | None]:
    """Of each latent, the sum of `weights` × the table's row of the token; of each entry, ⟨that row, rows[latent]⟩.

    Weights and inner products are in the order of the codes. None for what is not asked for.
    """
    width, n_latents, nnz = table.shape[1], len(parts.starts) - 1, len(parts.order)
    n_blocks = triton.cdiv(width, BLOCKS["COLUMNS"])
    empty = table.new_empty(0)
    sums = empty if weights is None else table.new_empty(n_latents, width)
    side = empty if weights is None else table.new_empty(2 * (nnz // CHUNK), width)
    inner = empty if rows is None else table.new_empty(n_blocks, nnz)
    launch(
        *(_by_latent, (len(parts.latents), n_blocks), table.contiguous()),
        empty if weights is None else weights.contiguous(),
        empty if rows is None else rows.contiguous(),
        *(parts.order, parts.tokens, parts.offsets, parts.starts, parts.latents, parts.hot_starts),
        *(sums, side, inner, n_latents, nnz, width),
        SUM=weights is not None,
        MULTIPLY=rows is not None,
        CHUNK=CHUNK,
        **BLOCKS,
    )
    if weights is not None:
        hot = parts.hot, parts.starts, parts.hot_starts
        grid = (len(parts.hot), n_blocks)
        launch(_add_chunks, grid, side, *hot, sums, n_latents, width, COLUMNS=BLOCKS["COLUMNS"], num_warps=4)
    if rows is None:
        return sums, None
    products = torch.empty_like(inner[0]).index_copy_(0, parts.order, inner.sum(0))
    return None if weights is None else sums, products


def _running(counts: Int[Tensor, " n"]) -> Int[Tensor, " n+1"]:
    """Running totals, from 0 (int64)."""
    totals = torch.zeros(len(counts) + 1, dtype=torch.int64, device=counts.device)
    torch.cumsum(counts, 0, out=totals[1:])
    return totals


@triton.jit(do_not_specialize=["n_latents", "nnz"])
def _by_latent(
    table,
    weights,
    rows,
    order,
    tokens,
    offsets,
    starts,
    chunk_latents,
    hot_starts,
    sums,
    side,
    inner,
    n_latents,
    nnz,
    width,
    SUM: tl.constexpr,
    MULTIPLY: tl.constexpr,
    CHUNK: tl.constexpr,
    ENTRIES: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    latent = tl.load(chunk_latents + tl.program_id(0))
    if latent >= n_latents:
        return
    chunk = tl.program_id(0) - tl.load(starts + latent)
    n_chunks = tl.load(starts + latent + 1) - tl.load(starts + latent)
    start = tl.load(offsets + latent) + chunk * CHUNK
    end = tl.minimum(start + CHUNK, tl.load(offsets + latent + 1))
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < width
    total = tl.zeros((ENTRIES, COLUMNS), tl.float32)
    if MULTIPLY:
        own = tl.load(rows + latent * width + column, mask=inside, other=0.0)
    for first in range(start, end, ENTRIES):
        at = first + tl.arange(0, ENTRIES)
        live = at < end
        token = tl.load(tokens + at, mask=live, other=0).to(tl.int64)
        row = tl.load(table + token[:, None] * width + column[None, :], mask=live[:, None] & inside[None, :], other=0.0)
        if SUM:
            weight = tl.load(weights + tl.load(order + at, mask=live, other=0), mask=live, other=0.0)
            total += row * weight[:, None]
        if MULTIPLY:
            product = tl.sum(row * own[None, :], axis=1)
            tl.store(inner + tl.program_id(1).to(tl.int64) * nnz + at, product, mask=live)
    if SUM:
        sum_ = tl.sum(total, axis=0)
        tl.store(sums + latent * width + column, sum_, mask=inside & (n_chunks == 1))
        at_side = (tl.load(hot_starts + latent) + chunk) * width + column
        tl.store(side + at_side, sum_, mask=inside & (n_chunks > 1))


@triton.jit(do_not_specialize=["n_latents"])
def _add_chunks(side, hot, starts, hot_starts, sums, n_latents, width, COLUMNS: tl.constexpr):
    latent = tl.load(hot + tl.program_id(0))
    if latent >= n_latents:
        return
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < width
    first = tl.load(hot_starts + latent)
    last = first + tl.load(starts + latent + 1) - tl.load(starts + latent)
    total = tl.zeros((COLUMNS,), tl.float32)
    for chunk in range(first, last):
        total += tl.load(side + chunk * width + column, mask=inside, other=0.0)
    tl.store(sums + latent * width + column, total, mask=inside)
