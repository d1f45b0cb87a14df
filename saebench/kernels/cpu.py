"""The kernels for CPUs: one dense product, everything else touches active entries only.

Decisions:
- The selection never sees the whole product: `cpu_native` takes it tile by tile, `cpu_torch` in blocks.
- Decoding and both weight gradients are weighted sums of rows: over tokens, and over the entries sorted by latent. That
  sort is made once per codes and shared by encoder and decoder.
- The gradient of the values is a sampled product: only ⟨gradient of token t, W_dec of latent i⟩ for active (t, i).
- What a step holds between forward and backward is counted: x − centre is not kept.
- The gradient of `centre` is −W_encᵀ · (gradient of b_enc): no [tokens, d_in] gradient for it.
- The same inputs and number of threads give the same bits.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from saebench.kernels import cpu_native, cpu_torch
from saebench.kernels.backend import Kernel
from saebench.kernels.codes import SparseCodes
from saebench.kernels.primitives import bags, sampled_product
from saebench.kernels.selection import Selection


def encode(
    x: Float[Tensor, "tokens d_in"],
    W_enc: Float[Tensor, "n_latents d_in"],
    b_enc: Float[Tensor, " n_latents"],
    selection: Selection,
    centre: Float[Tensor, " d_in"],
    among: Int[Tensor, " some"] | None,
    kernel: Kernel,
) -> SparseCodes:
    """The selected entries of W_enc (x − centre) + b_enc, the selection restricted to the latents `among`."""
    native = kernel.native and W_enc.dtype == torch.float32
    with torch.no_grad():
        select = cpu_native.select if native else cpu_torch.select
        bfloat16 = kernel.product == "bfloat16" and W_enc.dtype == torch.float32
        codes = select(x, W_enc, b_enc, selection, centre, among, bfloat16)
    if torch.is_grad_enabled() and any(t.requires_grad for t in (x, W_enc, b_enc, centre)):
        return codes.with_values(_Encode.apply(x, W_enc, b_enc, centre, codes, native))
    return codes


def decode(
    codes: SparseCodes, W_dec: Float[Tensor, "n_latents d_in"], b_dec: Float[Tensor, " d_in"], kernel: Kernel
) -> Float[Tensor, "tokens d_in"]:
    """Codes · W_dec + b_dec."""
    return _Decode.apply(codes.values, W_dec, b_dec, codes, kernel.native and W_dec.dtype == torch.float32)


def _weights_gradient(
    codes: SparseCodes,
    weights: Float[Tensor, " nnz"],
    table: Float[Tensor, "tokens d_in"],
    native: bool,
    minus: Float[Tensor, " d_in"] | None = None,
) -> Float[Tensor, "n_latents d_in"]:
    """Σ over each latent's entries of weight · (the token's row of the table − minus)."""
    view = codes.pattern.by_latent
    return bags(view.tokens, view.offsets, weights, table, order=view.order, minus=minus, native=native)


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
        native: bool,
    ) -> Tensor:
        ctx.save_for_backward(x, W_enc, centre)
        ctx.codes, ctx.native = codes, native
        return codes.values.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (x, W_enc, centre), codes = ctx.saved_tensors, ctx.codes
        needs_x, needs_W, needs_b, needs_centre = ctx.needs_input_grad[:4]
        dx = bags(codes.latents, codes.offsets, grad, W_enc, native=ctx.native) if needs_x else None
        dW = _weights_gradient(codes, grad, x, ctx.native, minus=centre) if needs_W else None
        db = grad.new_zeros(codes.n_latents).index_add_(0, codes.latents, grad) if needs_b or needs_centre else None
        dcentre = -(db @ W_enc) if needs_centre and db is not None else None
        return dx, dW, db if needs_b else None, dcentre, None, None


class _Decode(torch.autograd.Function):
    """The reconstruction as a function of the values and the decoder."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, W_dec: Tensor, b_dec: Tensor, codes: SparseCodes, native: bool) -> Tensor:
        ctx.save_for_backward(values, W_dec)
        ctx.codes, ctx.native = codes, native
        return bags(codes.latents, codes.offsets, values, W_dec, start=b_dec, native=native)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (values, W_dec), codes = ctx.saved_tensors, ctx.codes
        needs_values, needs_W, needs_b = ctx.needs_input_grad[:3]
        grad = grad.contiguous()
        dvalues = sampled_product(grad, W_dec, codes.latents, codes.offsets, ctx.native) if needs_values else None
        dW = _weights_gradient(codes, values, grad, ctx.native) if needs_W else None
        return dvalues, dW, grad.sum(0) if needs_b else None, None, None
