"""The deciding product: the winning groups of each row computed again, in float32.

Decisions:
- The (row, group) pairs are sorted by group, so that a tile of many rows shares the 32 columns of one group: a grouped
  product on tensor cores, three TF32 products for float32's precision.
- Which tile belongs to which group is worked out on the device from the sorted pairs; the grid has room for one
  unfilled tile per group, and tiles beyond the last return at once. So the host waits for nothing.
"""

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from saebench.kernels.triton.launch import launch
from saebench.kernels.triton.maxima import GROUP
from saebench.kernels.triton.operands import Operand

TILE = {"TILE_PAIRS": 128, "TILE_WIDTH": 32, "num_warps": 8, "num_stages": 3}


def exact_groups(
    left: Operand,
    right: Operand,
    bias: Float[Tensor, " rows_or_columns"],
    bias_of_rows: bool,
    pairs: tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]],
) -> Float[Tensor, "pairs group"]:
    """left · rightᵀ + bias of the rows and groups of columns in `pairs`; −Inf beyond the last column."""
    rows, groups = pairs
    n_columns, width = right.exact.shape
    n_groups, n_pairs, device = triton.cdiv(n_columns, GROUP), len(rows), rows.device
    scores = torch.empty(n_pairs, GROUP, dtype=torch.float32, device=device)
    by_group = torch.sort(groups.int(), stable=True)
    starts = torch.searchsorted(by_group.values, torch.arange(n_groups + 1, dtype=torch.int32, device=device))
    tile_starts = torch.zeros_like(starts)
    torch.cumsum((starts.diff() + TILE["TILE_PAIRS"] - 1) // TILE["TILE_PAIRS"], 0, out=tile_starts[1:])
    n_tiles = n_pairs // TILE["TILE_PAIRS"] + min(n_groups, n_pairs)
    tile_groups = torch.searchsorted(tile_starts[1:], torch.arange(n_tiles, device=device), right=True)
    launch(
        *(_exact_groups, (n_tiles,), left.exact, right.exact, bias, rows, by_group.indices),
        *(starts, tile_starts, tile_groups, scores, n_columns, width),
        BIAS_OF_ROWS=bias_of_rows,
        GROUP=GROUP,
        **TILE,
    )
    return scores


@triton.jit(do_not_specialize=["n_columns"])
def _exact_groups(
    left,
    right,
    bias,
    rows,
    order,
    starts,
    tile_starts,
    tile_groups,
    scores,
    n_columns,
    width,
    BIAS_OF_ROWS: tl.constexpr,
    GROUP: tl.constexpr,
    TILE_PAIRS: tl.constexpr,
    TILE_WIDTH: tl.constexpr,
):
    group = tl.load(tile_groups + tl.program_id(0))
    if group * GROUP >= n_columns:
        return
    first_pair = tl.load(starts + group) + (tl.program_id(0) - tl.load(tile_starts + group)) * TILE_PAIRS
    at = first_pair + tl.arange(0, TILE_PAIRS)
    live = at < tl.load(starts + group + 1)
    pair = tl.load(order + at, mask=live, other=0)
    row = tl.load(rows + pair)
    column = group * GROUP + tl.arange(0, GROUP)

    step = tl.arange(0, TILE_WIDTH)
    lefts = left + row[:, None] * width + step[None, :]
    rights = right + tl.where(column < n_columns, column, 0)[None, :] * width + step[:, None]
    total = tl.zeros((TILE_PAIRS, GROUP), tl.float32)
    for _ in range(0, width, TILE_WIDTH):
        a, b = tl.load(lefts), tl.load(rights)
        total = tl.dot(a, b, total, input_precision="tf32x3")
        lefts += TILE_WIDTH
        rights += TILE_WIDTH

    if BIAS_OF_ROWS:
        total += tl.load(bias + row)[:, None]
    else:
        total += tl.load(bias + column, mask=column < n_columns, other=0.0)[None, :]
    total = tl.where((column < n_columns)[None, :], total, float("-inf"))
    tl.store(scores + pair[:, None] * GROUP + tl.arange(0, GROUP)[None, :], total, mask=live[:, None])
