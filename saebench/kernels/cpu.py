"""The kernels for CPUs: one dense product, everything else touches active entries only.

Decisions:
- The product and the selection run over blocks of tokens, so a dense [tokens, latents] tensor never exists.
- With the bfloat16 product (CPUs with AMX, see `backend`) the product only proposes, with a margin over k; the values
  of the proposed entries are computed again in float32 and those decide. Exact but for entries that rounding puts
  further down than the margin.
- Decoding and both weight gradients are `embedding_bag`s: over tokens, and over the entries sorted by latent. That sort
  is made once per codes and shared by encoder and decoder.
- The gradient of the values is a sampled product: only ⟨gradient of token t, W_dec of latent i⟩ for active (t, i).
- The gradient of `centre` is −W_encᵀ · (gradient of b_enc): no [tokens, d_in] gradient for it.
- Each output is summed by one thread in a fixed order: the same inputs and number of threads give the same bits.
"""

import warnings
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding_bag

from saebench.kernels.codes import SparseCodes, positive_entries
from saebench.kernels.selection import PerToken
from saebench.kernels.topk import group_size, topk

INT32_MAX = 2**31 - 1

with warnings.catch_warnings():  # torch announces once per process that CSR tensors are in beta; spend it here
    warnings.simplefilter("ignore")
    torch.eye(1).to_sparse_csr()


def encode(
    x: Float[Tensor, "tokens d_in"],
    W_enc: Float[Tensor, "n_latents d_in"],
    b_enc: Float[Tensor, " n_latents"],
    selection: PerToken,
    centre: Float[Tensor, " d_in"],
    among: Int[Tensor, " some"] | None,
    bfloat16: bool = False,
) -> SparseCodes:
    """ReLU(TopK(W_enc (x − centre) + b_enc)), the selection restricted to the latents `among`."""
    with torch.no_grad():
        centred = x - centre
        if among is None:
            chosen = _select(centred, W_enc, b_enc, selection.k, bfloat16)
        else:
            values, local = _select(centred, W_enc[among], b_enc[among], selection.k, bfloat16)
            chosen = values, among[local]
        codes = positive_entries(*chosen, n_latents=W_enc.shape[0])
    if torch.is_grad_enabled() and any(t.requires_grad for t in (x, W_enc, b_enc, centre)):
        return codes.with_values(_Encode.apply(x, W_enc, b_enc, centre, codes))
    return codes


def decode(
    codes: SparseCodes, W_dec: Float[Tensor, "n_latents d_in"], b_dec: Float[Tensor, " d_in"]
) -> Float[Tensor, "tokens d_in"]:
    """Codes · W_dec + b_dec."""
    return _Decode.apply(codes.values, W_dec, b_dec, codes)


def _select(
    x: Float[Tensor, "tokens d_in"],
    W: Float[Tensor, "some d_in"],
    b: Float[Tensor, " some"],
    k: int,
    bfloat16: bool,
) -> tuple[Float[Tensor, "tokens k"], Int[Tensor, "tokens k"]]:
    """The k largest x·Wᵀ + b of each token, block by block. Fewer latents than k: all of them."""
    n_latents = W.shape[0]
    k = min(k, n_latents)
    if not len(x) or not k:
        return x.new_empty(len(x), k), torch.empty(len(x), k, dtype=torch.int64)
    propose = min(k + k // 4 + 8, n_latents) if bfloat16 else k
    product_dtype = torch.bfloat16 if bfloat16 else x.dtype
    block = max(128, min(512, 2**22 // n_latents))
    group = group_size(n_latents)
    padded = -(-n_latents // group) * group
    pre = torch.empty(min(block, len(x)), padded, dtype=product_dtype)
    pre[:, n_latents:] = -torch.inf
    left, right, bias = x.to(product_dtype), W.to(product_dtype).t(), b.to(product_dtype)
    values, latents = x.new_empty(len(x), k), torch.empty(len(x), k, dtype=torch.int64)
    for start in range(0, len(x), block):
        rows = slice(start, min(start + block, len(x)))
        out = pre[: rows.stop - start]
        torch.addmm(bias, left[rows], right, out=out[:, :n_latents])
        found, columns = topk(out, propose)
        if bfloat16:
            exact = _sampled(x[rows], W, columns) + b[columns]
            found, place = exact.topk(k, dim=1, sorted=False)
            columns = columns.gather(1, place)
        values[rows], latents[rows] = found, columns
    if values.isnan().any():
        raise ValueError("encode: the encoder's weights contain NaN or Inf, or overflow; load another checkpoint")
    return values, latents


def _sampled(
    x: Float[Tensor, "tokens d_in"], W: Float[Tensor, "n_latents d_in"], latents: Int[Tensor, "tokens k"]
) -> Float[Tensor, "tokens k"]:
    """⟨x of the token, W of the latent⟩ for the same number of latents per token."""
    n, k = latents.shape
    offsets = torch.arange(0, n * k + 1, k)
    return _sampled_product(x, W, latents.reshape(-1), offsets).view(n, k)


def _sampled_product(
    left: Float[Tensor, "tokens d_in"],
    right: Float[Tensor, "n_latents d_in"],
    latents: Int[Tensor, " nnz"],
    offsets: Int[Tensor, " tokens+1"],
) -> Float[Tensor, " nnz"]:
    """⟨left of the token, right of the latent⟩ of every entry."""
    if not len(latents):
        return left.new_empty(0)
    zeros, size = left.new_zeros(len(latents)), (len(left), len(right))
    at = torch.sparse_csr_tensor(*_one_width(offsets, latents), zeros, size=size, check_invariants=False)
    return torch.sparse.sampled_addmm(at, left, right.t(), beta=0.0).values()


def _bags(
    rows: Int[Tensor, " nnz"],
    offsets: Int[Tensor, " bags+1"],
    weights: Float[Tensor, " nnz"],
    table: Float[Tensor, "rows d"],
) -> Float[Tensor, "bags d"]:
    """Weighted sums of the table's rows, one per bag of entries."""
    if not len(rows):
        return table.new_zeros(len(offsets) - 1, table.shape[1])
    offsets, rows = _one_width(offsets, rows)
    return embedding_bag(rows, table, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True)


def _one_width(offsets: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Both as int32, the faster, or as int64 where the entries are too many for it."""
    dtype = torch.int32 if len(indices) <= INT32_MAX else torch.int64
    return offsets.to(dtype), indices.to(dtype)


class _Encode(torch.autograd.Function):
    """The values of selected entries as a function of the input and the encoder."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        W_enc: Tensor,
        b_enc: Tensor,  # noqa: ARG004 — its gradient needs no value
        centre: Tensor,
        codes: SparseCodes,
    ) -> Tensor:
        ctx.save_for_backward(x - centre, W_enc)
        ctx.codes = codes
        return codes.values.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (centred, W_enc), codes = ctx.saved_tensors, ctx.codes
        needs_x, needs_W, needs_b, needs_centre = ctx.needs_input_grad[:4]
        dx = _bags(codes.latents, codes.offsets, grad, W_enc) if needs_x else None
        sorted_by = codes.pattern.by_latent if needs_W else None
        dW = _bags(sorted_by.tokens, sorted_by.offsets, grad[sorted_by.order], centred) if sorted_by else None
        db = grad.new_zeros(codes.n_latents).index_add_(0, codes.latents, grad) if needs_b or needs_centre else None
        dcentre = -(db @ W_enc) if needs_centre and db is not None else None
        return dx, dW, db if needs_b else None, dcentre, None


class _Decode(torch.autograd.Function):
    """The reconstruction as a function of the values and the decoder."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, W_dec: Tensor, b_dec: Tensor, codes: SparseCodes) -> Tensor:
        ctx.save_for_backward(values, W_dec)
        ctx.codes = codes
        return _bags(codes.latents, codes.offsets, values, W_dec).add_(b_dec)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (values, W_dec), codes = ctx.saved_tensors, ctx.codes
        needs_values, needs_W, needs_b = ctx.needs_input_grad[:3]
        grad = grad.contiguous()
        dvalues = _sampled_product(grad, W_dec, codes.latents, codes.offsets) if needs_values else None
        sorted_by = codes.pattern.by_latent if needs_W else None
        dW = _bags(sorted_by.tokens, sorted_by.offsets, values[sorted_by.order], grad) if sorted_by else None
        return dvalues, dW, grad.sum(0) if needs_b else None, None
