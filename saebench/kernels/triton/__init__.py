"""The kernels for CUDA GPUs, in Triton: one dense product, everything else touches active entries only.

Decisions:
- A dense [tokens, latents] tensor never exists: the product leaves only maxima of groups, from which `selecting` finds
  the entries asked for, exactly.
- Decoding and the gradient of x are weighted sums of rows per token (`gather`); the gradients of both weights and of
  the values are sums over the entries sorted by latent (`segments`). That sort is made once per codes and shared.
- The gradient of `centre` is −W_encᵀ · (gradient of b_enc), and b_enc's is a weighted sum of ones.
- No atomics, and nothing is chosen by a timing: the same inputs give the same bits.
- Offsets into a table are 64-bit wherever rows × columns may exceed 2^31.
- Float32 only; `saebench.kernels` gives float64 to the reference.

Triton is imported with this package, so this package is imported only when it is to run.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from saebench.kernels.codes import SparseCodes
from saebench.kernels.selection import Selection
from saebench.kernels.triton.gather import weighted_sums
from saebench.kernels.triton.launch import interpreted
from saebench.kernels.triton.segments import by_latent, chunks
from saebench.kernels.triton.selecting import select

__all__ = ["decode", "encode"]


def encode(
    x: Float[Tensor, "tokens d_in"],
    W_enc: Float[Tensor, "n_latents d_in"],
    b_enc: Float[Tensor, " n_latents"],
    selection: Selection,
    centre: Float[Tensor, " d_in"],
    among: Int[Tensor, " some"] | None,
    bfloat16: bool,
) -> SparseCodes:
    """The selected entries of W_enc (x − centre) + b_enc, the selection restricted to the latents `among`.

    With `bfloat16` a bfloat16 product proposes; float32 decides and gives the values. Raises ValueError for tensors
    that are on no CUDA GPU, and where the weights give NaN.
    """
    _check_device(x)
    with torch.no_grad():
        codes = select(x - centre, W_enc, b_enc, selection, among, bfloat16)
    if torch.is_grad_enabled() and any(t.requires_grad for t in (x, W_enc, b_enc, centre)):
        return codes.with_values(_Encode.apply(x, W_enc, b_enc, centre, codes))
    return codes


def decode(
    codes: SparseCodes, W_dec: Float[Tensor, "n_latents d_in"], b_dec: Float[Tensor, " d_in"]
) -> Float[Tensor, "tokens d_in"]:
    """Codes · W_dec + b_dec. Raises ValueError for tensors that are on no CUDA GPU."""
    _check_device(W_dec)
    return _Decode.apply(codes.values, W_dec, b_dec, codes)


def _check_device(tensor: Tensor) -> None:
    if tensor.device.type != "cuda" and not interpreted():
        raise ValueError(f"the triton kernels need tensors on a CUDA GPU, not on {tensor.device}; use another kernel")


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
        ctx.save_for_backward(x, W_enc, centre)
        ctx.codes = codes
        return codes.values.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (x, W_enc, centre), codes = ctx.saved_tensors, ctx.codes
        needs_x, needs_W, needs_b, needs_centre = ctx.needs_input_grad[:4]
        dx = weighted_sums(codes, grad, W_enc) if needs_x else None
        parts = chunks(codes) if needs_W or needs_b or needs_centre else None
        dW = by_latent(parts, x - centre, grad)[0] if needs_W and parts else None
        db = dcentre = None
        if parts and (needs_b or needs_centre):
            ones = torch.ones(len(codes), 1, device=grad.device)
            sums = by_latent(parts, ones, grad)[0]
            assert sums is not None
            db = sums.squeeze(1)
            dcentre = -(db @ W_enc) if needs_centre else None
        return dx, dW, db if needs_b else None, dcentre, None


class _Decode(torch.autograd.Function):
    """The reconstruction as a function of the values and the decoder."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, W_dec: Tensor, b_dec: Tensor, codes: SparseCodes) -> Tensor:
        ctx.save_for_backward(values, W_dec)
        ctx.codes = codes
        return weighted_sums(codes, values, W_dec).add_(b_dec)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (values, W_dec), codes = ctx.saved_tensors, ctx.codes
        needs_values, needs_W, needs_b = ctx.needs_input_grad[:3]
        dvalues = dW = None
        if needs_values or needs_W:
            dW, dvalues = by_latent(chunks(codes), grad, values if needs_W else None, W_dec if needs_values else None)
        return dvalues, dW, grad.sum(0) if needs_b else None, None
