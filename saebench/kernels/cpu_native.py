"""Selection on a CPU by the compiled kernels (`sparse.c`), for float32.

Decisions:
- A search looks for columns (rows of b) for each row of a, and never stores the product. Per token that is tokens
  against latents; per latent it is latents against tokens; both are the same search.
- The decision is made in float32 whatever the product's precision: bfloat16 and float32 products give the same bits.
- With AMX the product is torch's (oneDNN knows the tiles), block by block, and only searched here; otherwise it is made
  by this library, tile by tile in registers.
- For the batch rule, blocks of rows keep twice their share; where a block turns out to hold more than that of the
  batch's largest entries, it alone is searched again with the cut then known. `expected` only begins the cut higher.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.kernels.backend import has_amx
from saebench.kernels.codes import SparseCodes
from saebench.kernels.native import library, pointer
from saebench.kernels.selection import Above, PerBatch, PerLatent, PerToken, Selection

BLOCK = (504, 4096)
"""Rows (a multiple of both tile heights, 6 and 14) and columns of a product made by torch."""
EXPECTED = 0.9
"""Share of the expected cut from which a batch's cut begins."""
KEPT = 2
"""How many times its share a block of rows keeps for the batch rule."""

Side = tuple[Tensor, Tensor | None, int]
"""A table, which of its rows are meant (None: all), and how many."""


def select(
    x: Float[Tensor, "tokens d_in"],
    W: Float[Tensor, "n_latents d_in"],
    b: Float[Tensor, " n_latents"],
    selection: Selection,
    centre: Float[Tensor, " d_in"],
    among: Int[Tensor, " some"] | None,
    bfloat16: bool,
) -> SparseCodes:
    """The selected entries of (x − centre)·Wᵀ + b. Raises ValueError where one is not a number."""
    x, W, b, centre = (tensor.detach().contiguous() for tensor in (x, W, b, centre))
    among = None if among is None else among.to(torch.int64).contiguous()
    budgets = thresholds = None
    keep, shared, floor, wanted = -1, True, 0.0, -1
    match selection:
        case PerToken(k):
            keep, shared = k, False
        case PerBatch(k, expected):
            keep, wanted = KEPT * k, k * len(x)
            floor = max(EXPECTED * expected, 0.0) if expected is not None else 0.0
        case PerLatent(of):
            shared = False
            budgets = of.to(torch.int64).clamp(min=0).contiguous()
        case Above(of):
            thresholds = of.detach().to(torch.float32).contiguous()
    turned = budgets is not None
    latents: Side = (W, among, W.shape[0] if among is None else len(among))
    tokens: Side = (x, None, len(x))
    left, right = (latents, tokens) if turned else (tokens, latents)
    lib = library()
    biases = (pointer(b), None) if turned else (None, pointer(b))
    search = lib.search_new(
        pointer(left[0]), pointer(left[1]), left[2], pointer(right[0]), pointer(right[1]), right[2], x.shape[1],
        pointer(centre), turned, *biases, pointer(thresholds), pointer(budgets), keep, shared, floor, bfloat16,
        torch.get_num_threads(),
    )  # fmt: skip
    if not search:
        raise MemoryError("encode: no memory left for the selection")
    try:
        if bfloat16 and (has_amx() or not lib.has_half()):
            tokens = (x - centre, None, len(x))
            _products(search, *((latents, tokens) if turned else (tokens, latents)))
        else:
            lib.search_run(search)
        found = lib.search_finish(search, wanted)
        if found == -1:
            raise ValueError("encode: the encoder's weights contain NaN or Inf, or overflow; load another checkpoint")
        values = torch.empty(max(found, 0))
        chosen = torch.empty(max(found, 0), dtype=torch.int32)
        offsets = torch.empty(len(x) + 1, dtype=torch.int64)
        if found < 0 or not lib.search_write(search, turned, len(x), *map(pointer, (values, chosen, offsets))):
            raise MemoryError("encode: no memory left for the selection")
    finally:
        lib.search_free(search)
    return SparseCodes(values, chosen, offsets, W.shape[0])


def _products(search: int, a: Side, b: Side) -> None:
    """Hand all products of the two sides' rows to the search, made by torch in bfloat16, block by block."""
    rows, columns = a[2], b[2]
    block = torch.empty(min(BLOCK[0], rows), min(BLOCK[1], columns), dtype=torch.bfloat16)
    for column in range(0, columns, BLOCK[1]):
        right = _rows(b, column, BLOCK[1]).t()
        for row in range(0, rows, BLOCK[0]):
            left = _rows(a, row, BLOCK[0])
            out = block[: len(left), : right.shape[1]]
            torch.mm(left, right, out=out)
            library().scan(search, out.data_ptr(), True, block.stride(0), row, len(left), column, right.shape[1])


def _rows(side: Side, start: int, count: int) -> Tensor:
    """Some consecutive rows of a side in bfloat16."""
    table, at, _ = side
    part = slice(start, start + count)
    return (table[part] if at is None else table[at[part]]).bfloat16()
