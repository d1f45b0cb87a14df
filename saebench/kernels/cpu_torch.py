"""Selection on a CPU by torch operators: for float64, and where nothing can be compiled.

Decisions:
- The product is made in blocks of tokens (for PerLatent of latents), so a dense [tokens, latents] tensor never exists.
- For PerToken the bfloat16 product proposes with a margin over k, for Above with a bound on what rounding can do; the
  proposed entries are computed again in float32 and those decide. The other selections multiply in float32.
- For the batch rule each block keeps twice its share; a block that turns out to hold more of the batch's largest
  entries is multiplied again.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.kernels.codes import SparseCodes, from_entries, positive_entries
from saebench.kernels.primitives import sampled_product
from saebench.kernels.selection import Above, PerBatch, PerLatent, PerToken, Selection
from saebench.kernels.topk import group_size, topk

HALF = 2.0**-8
"""Largest relative change by rounding to bfloat16."""

Entries = tuple[Tensor, Tensor, Tensor]
"""Values, tokens and latents."""


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
    n_latents = W.shape[0]
    x = x - centre
    if among is not None:
        W, b = W[among], b[among]
    match selection:
        case PerToken(k):
            values, latents = _per_token(x, W, b, k, bfloat16)
            return positive_entries(values, latents if among is None else among[latents], n_latents)
        case PerBatch(k):
            values, tokens, latents = _per_batch(x, W, b, k)
        case PerLatent(budgets):
            values, tokens, latents = _per_latent(x, W, b, budgets if among is None else budgets[among])
        case Above(thresholds):
            thresholds = thresholds.detach() if among is None else thresholds.detach()[among]
            values, tokens, latents = _above(x, W, b, thresholds, bfloat16)
    latents = latents if among is None else among[latents]
    return from_entries(values, tokens, latents, (len(x), n_latents))


def _per_token(x: Tensor, W: Tensor, b: Tensor, k: int, bfloat16: bool) -> tuple[Tensor, Tensor]:
    """Values and latents [tokens, k] of the k largest. Fewer latents than k: all of them."""
    n_latents = W.shape[0]
    k = min(k, n_latents)
    if not len(x) or not k:
        return x.new_empty(len(x), k), torch.empty(len(x), k, dtype=torch.int64)
    propose = min(k + k // 4 + 8, n_latents) if bfloat16 else k
    values, latents = x.new_empty(len(x), k), torch.empty(len(x), k, dtype=torch.int64)
    group = group_size(n_latents)
    for rows, pre in _products(x, W, b, bfloat16, pad=-n_latents % group):
        found, columns = topk(pre, propose)
        if bfloat16:
            offsets = torch.arange(0, columns.numel() + 1, propose)
            exact = sampled_product(x[rows], W, columns.reshape(-1), offsets).view(columns.shape) + b[columns]
            found, place = exact.topk(k, dim=1, sorted=False)
            columns = columns.gather(1, place)
        values[rows], latents[rows] = found, columns
    _refuse_nan(values)
    return values, latents


def _above(x: Tensor, W: Tensor, b: Tensor, thresholds: Tensor, bfloat16: bool) -> Entries:
    thresholds = thresholds.to(x.dtype)
    slack = W.norm(dim=1) * (2.1 * HALF) if bfloat16 else None
    found = []
    for rows, pre in _products(x, W, b, bfloat16):
        if slack is None:
            tokens, latents = (pre > thresholds).nonzero(as_tuple=True)
            values = pre[tokens, latents]
            _refuse_nan(pre)
        else:
            rounded = pre.float()
            bound = rounded + x[rows].norm(dim=1)[:, None] * slack + (rounded.abs() + b.abs()) * (2 * HALF)
            tokens, latents = (~(bound <= thresholds)).nonzero(as_tuple=True)
            offsets = torch.zeros(len(pre) + 1, dtype=torch.int64)
            torch.cumsum(torch.bincount(tokens, minlength=len(pre)), 0, out=offsets[1:])
            values = sampled_product(x[rows], W, latents, offsets) + b[latents]
            _refuse_nan(values)
            keep = values > thresholds[latents]
            values, tokens, latents = values[keep], tokens[keep], latents[keep]
        found.append((values, tokens + rows.start, latents))
    return _joined(found, x)


def _per_batch(x: Tensor, W: Tensor, b: Tensor, k: int) -> Entries:
    wanted = min(k * len(x), len(x) * len(W))
    found, cuts = [], []
    for rows, pre in _products(x, W, b):
        _refuse_nan(pre)
        kept = min(2 * k * len(pre), pre.numel())
        values, places = pre.flatten().topk(kept, sorted=False)
        cuts.append((rows, values.min().item() if 0 < kept < pre.numel() else -torch.inf))
        found.append(_placed(values, places, rows.start, pre.shape[1], values > 0))
    values, tokens, latents = _joined(found, x)
    least = values.kthvalue(len(values) - wanted + 1).values.item() if 0 < wanted < len(values) else 0.0
    for rows, cut in cuts:
        if cut <= least or not wanted:
            continue
        others = (tokens < rows.start) | (tokens >= rows.stop)
        _, pre = next(_products(x[rows], W, b, block=rows.stop - rows.start))
        places = (pre.flatten() >= least).nonzero().squeeze(1)
        again = _placed(pre.flatten()[places], places, rows.start, pre.shape[1])
        values, tokens, latents = _joined([(values[others], tokens[others], latents[others]), again], x)
    best = values.topk(min(wanted, len(values)), sorted=False).indices.sort().values
    best = best[values[best] > 0]
    return values[best], tokens[best], latents[best]


def _per_latent(x: Tensor, W: Tensor, b: Tensor, budgets: Tensor) -> Entries:
    found = []
    for latents, pre in _products(W, x, x.new_zeros(len(x))):
        pre += b[latents][:, None]
        _refuse_nan(pre)
        of = budgets[latents].clamp(0, len(x))
        values, tokens = pre.topk(int(of.max()) if len(of) else 0, dim=1)
        keep = (torch.arange(values.shape[1]) < of[:, None]) & (values > 0)
        found.append((values[keep], tokens[keep], keep.nonzero()[:, 0] + latents.start))
    return _joined(found, x)


def _products(
    x: Tensor, W: Tensor, b: Tensor, bfloat16: bool = False, pad: int = 0, block: int | None = None
) -> Iterator[tuple[slice, Tensor]]:
    """x·Wᵀ + b in blocks of rows, one after the other in the same memory; `pad` columns of −∞ at the end."""
    if not len(x) or not len(W):
        return
    dtype = torch.bfloat16 if bfloat16 else x.dtype
    block = block or max(16, min(512, 2**22 // len(W)))
    pre = torch.empty(min(block, len(x)), len(W) + pad, dtype=dtype)
    pre[:, len(W) :] = -torch.inf
    right, bias = W.to(dtype).t(), b.to(dtype)
    for start in range(0, len(x), block):
        rows = slice(start, min(start + block, len(x)))
        out = pre[: rows.stop - start]
        torch.addmm(bias, x[rows].to(dtype), right, out=out[:, : len(W)])
        yield rows, out


def _placed(values: Tensor, places: Tensor, start: int, width: int, keep: Tensor | None = None) -> Entries:
    """Entries of flattened rows, the first of which is row `start`."""
    if keep is not None:
        values, places = values[keep], places[keep]
    return values, places // width + start, places % width


def _joined(found: list[Entries], like: Tensor) -> Entries:
    """All entries one after the other."""
    nothing = torch.empty(0, dtype=torch.int64)
    values, tokens, latents = zip((like.new_empty(0), nothing, nothing), *found, strict=True)
    return torch.cat(values), torch.cat(tokens), torch.cat(latents)


def _refuse_nan(values: Tensor) -> None:
    if values.isnan().any():
        raise ValueError("encode: the encoder's weights contain NaN or Inf, or overflow; load another checkpoint")
