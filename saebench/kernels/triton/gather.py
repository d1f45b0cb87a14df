"""Weighted sums of table rows, one per token: the decoder, and the gradient of the encoder's input.

Decisions: the grid runs over tokens first and over blocks of 128 columns last, so that the tokens in flight read the
same columns of the table, which up to tens of thousands of rows fit in the L2 cache: each row is read from memory once.
A token's entries are added in their order by one program.
"""

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from saebench.kernels.codes import SparseCodes
from saebench.kernels.triton.launch import launch

BLOCKS = {"ENTRIES": 16, "COLUMNS": 128, "num_warps": 4}


def weighted_sums(
    codes: SparseCodes, values: Float[Tensor, " nnz"], table: Float[Tensor, "n_latents d"]
) -> Float[Tensor, "tokens d"]:
    """Of each token, the sum of `values` × the table's row over its entries."""
    sums = torch.empty(len(codes), table.shape[1], dtype=torch.float32, device=table.device)
    grid = (len(codes), triton.cdiv(table.shape[1], BLOCKS["COLUMNS"]))
    entries = values.contiguous(), codes.latents, codes.offsets
    launch(_weighted_sums, grid, *entries, table.contiguous(), sums, table.shape[1], **BLOCKS)
    return sums


@triton.jit
def _weighted_sums(
    values,
    latents,
    offsets,
    table,
    sums,
    width,
    ENTRIES: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    token = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = (column < width)[None, :]
    start, end = tl.load(offsets + token), tl.load(offsets + token + 1)
    total = tl.zeros((ENTRIES, COLUMNS), tl.float32)
    for first in range(start, end, ENTRIES):
        at = first + tl.arange(0, ENTRIES)
        live = at < end
        latent = tl.load(latents + at, mask=live, other=0).to(tl.int64)
        value = tl.load(values + at, mask=live, other=0.0)
        row = tl.load(table + latent[:, None] * width + column[None, :], mask=live[:, None] & inside, other=0.0)
        total += row * value[:, None]
    tl.store(sums + token * width + column, tl.sum(total, axis=0), mask=column < width)
