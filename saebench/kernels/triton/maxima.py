"""The proposing product: left · rightᵀ + bias, of which only the maxima of groups of columns are ever written.

Decisions:
- A group is 32 neighbouring columns: the maxima take 1/32 of the dense matrix, and computing a winning group again
  costs 32 columns. The maxima are taken from the tile while it is in registers.
- Tiles are visited in bands of `BAND` row tiles, so that the tiles in flight share rows and columns in the L2 cache.
- Tile sizes follow from the precision alone, not from a timing; they change no result, since float32 decides.
- NaN becomes +Inf, so that it wins its group and is found when the group is computed again.
- The interpreter multiplies the bits of bfloat16 numbers. There operands are widened first, which changes nothing,
  since a product of two bfloat16 numbers is exact in float32.
"""

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from saebench.kernels.triton.launch import interpreted, launch
from saebench.kernels.triton.operands import TILE_WIDTH, Operand

GROUP = 32
"""Columns of which only the maximum is written."""
BAND = 16
BFLOAT16 = {"TILE_ROWS": 128, "TILE_COLUMNS": 256, "TILE_WIDTH": TILE_WIDTH, "num_warps": 8, "num_stages": 3}
FLOAT32 = {"TILE_ROWS": 128, "TILE_COLUMNS": 128, "TILE_WIDTH": 16, "num_warps": 8, "num_stages": 4}


def group_maxima(
    left: Operand, right: Operand, bias: Float[Tensor, " rows_or_columns"], bias_of_rows: bool
) -> Float[Tensor, "rows groups"]:
    """The largest entry of each group of columns of left · rightᵀ + bias, in the proposal's precision."""
    n_rows, n_columns, width = len(left.exact), len(right.exact), left.exact.shape[1]
    maxima = torch.empty(n_rows, triton.cdiv(n_columns, GROUP), dtype=torch.float32, device=bias.device)
    tile = BFLOAT16 if left.proposal.dtype == torch.bfloat16 else FLOAT32
    grid = (triton.cdiv(n_rows, tile["TILE_ROWS"]) * triton.cdiv(n_columns, tile["TILE_COLUMNS"]),)
    launch(
        *(_group_maxima, grid, left.proposal, right.proposal, bias, maxima, n_rows, n_columns, width),
        BIAS_OF_ROWS=bias_of_rows,
        WIDEN=interpreted(),
        GROUP=GROUP,
        BAND=BAND,
        **tile,
    )
    return maxima


@triton.jit(do_not_specialize=["n_rows", "n_columns"])
def _group_maxima(
    left,
    right,
    bias,
    maxima,
    n_rows,
    n_columns,
    width,
    BIAS_OF_ROWS: tl.constexpr,
    WIDEN: tl.constexpr,
    GROUP: tl.constexpr,
    BAND: tl.constexpr,
    TILE_ROWS: tl.constexpr,
    TILE_COLUMNS: tl.constexpr,
    TILE_WIDTH: tl.constexpr,
):
    row_tiles, column_tiles = tl.cdiv(n_rows, TILE_ROWS), tl.cdiv(n_columns, TILE_COLUMNS)
    tile = tl.program_id(0)
    band = tile // (BAND * column_tiles)
    height = tl.minimum(row_tiles - band * BAND, BAND)
    within = tile % (BAND * column_tiles)
    row = (band * BAND + within % height) * TILE_ROWS + tl.arange(0, TILE_ROWS)
    column = (within // height) * TILE_COLUMNS + tl.arange(0, TILE_COLUMNS)

    step = tl.arange(0, TILE_WIDTH)
    # rows and columns beyond the end read the first ones again, so that no load needs a mask
    lefts = left + tl.where(row < n_rows, row, 0).to(tl.int64)[:, None] * width + step[None, :]
    rights = right + tl.where(column < n_columns, column, 0).to(tl.int64)[None, :] * width + step[:, None]
    total = tl.zeros((TILE_ROWS, TILE_COLUMNS), tl.float32)
    for _ in range(0, width, TILE_WIDTH):
        a, b = tl.load(lefts), tl.load(rights)
        if WIDEN:
            a, b = a.to(tl.float32), b.to(tl.float32)
        total = tl.dot(a, b, total, input_precision="tf32x3")
        lefts += TILE_WIDTH
        rights += TILE_WIDTH

    if BIAS_OF_ROWS:
        total += tl.load(bias + row, mask=row < n_rows, other=0.0)[:, None]
    else:
        total += tl.load(bias + column, mask=column < n_columns, other=0.0)[None, :]
    total = tl.where(total != total, float("inf"), total)
    total = tl.where((column < n_columns)[None, :], total, float("-inf"))
    largest = tl.max(tl.reshape(total, (TILE_ROWS, TILE_COLUMNS // GROUP, GROUP)), axis=2)
    n_groups = tl.cdiv(n_columns, GROUP)
    group = (within // height) * (TILE_COLUMNS // GROUP) + tl.arange(0, TILE_COLUMNS // GROUP)
    at = maxima + row.to(tl.int64)[:, None] * n_groups + group[None, :]
    tl.store(at, largest, mask=(row < n_rows)[:, None] & (group < n_groups)[None, :])
