"""What a product multiplies: rows in float32, their form for the proposing product, and how far that may err.

Decisions:
- The product only proposes; float32 decides. For that no entry may be lost to rounding, so each entry gets an allowance
  `error`: the norm of its row × the norm of its column × a factor.
- A float32 product (three TF32 products on tensor cores) errs by a few 2^-22 of Σ|x w|, and Σ|x w| ≤ ‖x‖₂‖w‖₂: the
  factor 2^-16 leaves room for the order of summation.
- A bfloat16 product errs by at most 2^-7 Σ|x w|. Up to 64 dimensions the allowance is that bound. Beyond, it would let
  through several times what is needed, so it is eight standard deviations of independent roundings: one product has
  0.6 × 2^-8 |x w|, their sum 0.6 × 2^-8 ‖x∘w‖₂, and ‖x∘w‖₂ ≤ ‖x‖₄‖w‖₄ (Cauchy-Schwarz).
- Rounding and norm are made in one pass over the float32 rows.
- Rows are padded with zeros to whole tiles of the products (widths of models rarely need it): loads without masks are
  what lets the compiler keep the tensor cores fed.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from saebench.kernels.triton.launch import launch

BLOCKS = {"ROWS": 8, "BLOCK": 256, "num_warps": 4}
TILE_WIDTH = 64
"""Rows are as wide as a multiple of this."""
PROVEN_WIDTH = 64
LARGEST_NORM = 1e18  # so that a product of two norms stays finite; NaN and Inf norms are set to it


class Operand(NamedTuple):
    """The rows of one side of a product."""

    exact: Float[Tensor, "rows width"]
    """Float32."""
    proposal: Float[Tensor, "rows width"]
    """Bfloat16, or the float32 rows themselves."""
    error: Float[Tensor, " rows"]
    """Norm of each row; a pair's product of two of these bounds how far the proposal's entry is off."""


def prepare(rows: Float[Tensor, "rows d_in"], bfloat16: bool) -> Operand:
    """Rows made ready for a product of the precision."""
    n_rows, width = rows.shape
    exact = torch.nn.functional.pad(rows, (0, -width % TILE_WIDTH)).contiguous()
    proposal = torch.empty_like(exact, dtype=torch.bfloat16) if bfloat16 else exact
    norms = torch.empty(n_rows, dtype=torch.float32, device=exact.device)
    fourth = bfloat16 and width > PROVEN_WIDTH
    factor = (5 * 2.0**-8 if fourth else 1.01 * 2.0**-7) if bfloat16 else 2.0**-16
    grid = (triton.cdiv(n_rows, BLOCKS["ROWS"]),)
    sizes = n_rows, exact.shape[1]
    launch(_round_rows, grid, exact, proposal, norms, *sizes, FOURTH=fourth, ROUND=bfloat16, **BLOCKS)
    norms = norms.nan_to_num_(nan=LARGEST_NORM, posinf=LARGEST_NORM).clamp_(max=LARGEST_NORM)
    return Operand(exact, proposal, norms.mul_(factor**0.5))


@triton.jit(do_not_specialize=["n_rows"])
def _round_rows(
    exact,
    rounded,
    norms,
    n_rows,
    width,
    FOURTH: tl.constexpr,
    ROUND: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = (row < n_rows)[:, None]
    start = row.to(tl.int64)[:, None] * width
    largest = tl.zeros((ROWS, BLOCK), tl.float32)
    for first in range(0, width, BLOCK):
        column = (first + tl.arange(0, BLOCK))[None, :]
        inside = live & (column < width)
        value = tl.load(exact + start + column, mask=inside, other=0.0)
        largest = tl.maximum(largest, tl.abs(value))
        if ROUND:
            tl.store(rounded + start + column, value.to(tl.bfloat16), mask=inside)
    scale = tl.max(largest, axis=1)
    scale = tl.where(scale > 0, scale, 1.0)
    total = tl.zeros((ROWS, BLOCK), tl.float32)
    for first in range(0, width, BLOCK):
        column = (first + tl.arange(0, BLOCK))[None, :]
        value = tl.load(exact + start + column, mask=live & (column < width), other=0.0) / scale[:, None]
        square = value * value
        total += square * square if FOURTH else square
    norm = tl.sqrt(tl.sum(total, axis=1))
    if FOURTH:
        norm = tl.sqrt(norm)
    tl.store(norms + row, scale * norm, mask=row < n_rows)
