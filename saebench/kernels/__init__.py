"""Sparse-code primitives behind one interface: `encode`, `decode`, and their gradients.

Decisions: inputs are checked and brought to one dtype here, once; the backends then assume them right. Half-precision
weights are computed with in float32. Nothing here imports more than torch and jaxtyping; triton comes in with its
kernels, when they first run.
"""

from types import ModuleType

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.kernels import cpu, reference
from saebench.kernels.backend import Kernel, choose
from saebench.kernels.codes import SparseCodes
from saebench.kernels.error import squared_error
from saebench.kernels.rows import project_rows_, unit_rows_
from saebench.kernels.selection import Above, PerBatch, PerLatent, PerToken, Selection

__all__ = [
    "Above",
    "Kernel",
    "PerBatch",
    "PerLatent",
    "PerToken",
    "Selection",
    "SparseCodes",
    "choose",
    "decode",
    "encode",
    "project_rows_",
    "squared_error",
    "unit_rows_",
]


def encode(
    x: Float[Tensor, "... d_in"],
    W_enc: Float[Tensor, "n_latents d_in"],
    b_enc: Float[Tensor, " n_latents"],
    selection: Selection,
    *,
    centre: Float[Tensor, " d_in"] | None = None,
    among: Int[Tensor, " some"] | None = None,
    kernel: Kernel | None = None,
) -> SparseCodes:
    """The selected entries of W_enc (x − centre) + b_enc; leading dimensions of x are flattened to tokens.

    `among` restricts the selection to those latents. Values are float32 (float64 for float64 weights) and
    differentiable in x, W_enc, b_enc and centre. Raises ValueError for shapes that do not fit and for NaN or Inf in x.
    """
    _check_shapes("encode", W_enc, b_enc, W_enc.shape[:1])
    if x.ndim == 0 or x.shape[-1] != W_enc.shape[1]:
        raise ValueError(f"encode: x has shape {tuple(x.shape)}, its last dimension must be d_in = {W_enc.shape[1]}")
    kernel = kernel or choose(W_enc.device)
    dtype = _compute_dtype(W_enc)
    x = x.reshape(-1, x.shape[-1]).to(dtype)
    if not x.detach().sum().isfinite() and not x.isfinite().all():
        raise ValueError("encode: x contains NaN or Inf; look at the activations it was made from")
    centre = x.new_zeros(x.shape[1]) if centre is None else centre.to(dtype)
    weights = W_enc.to(dtype), b_enc.to(dtype)
    if kernel.backend == "cpu":
        return cpu.encode(x, *weights, selection, centre, among, kernel)
    if kernel.backend == "triton" and dtype == torch.float32:
        return _triton().encode(x, *weights, selection, centre, among, kernel.product == "bfloat16")
    return reference.encode(x, *weights, selection, centre, among)


def decode(
    codes: SparseCodes,
    W_dec: Float[Tensor, "n_latents d_in"],
    b_dec: Float[Tensor, " d_in"],
    *,
    kernel: Kernel | None = None,
) -> Float[Tensor, "tokens d_in"]:
    """Codes · W_dec + b_dec in the dtype of W_dec, differentiable in the values and both weights.

    Raises ValueError for codes of another number of latents.
    """
    _check_shapes("decode", W_dec, b_dec, W_dec.shape[1:])
    if codes.n_latents != W_dec.shape[0]:
        raise ValueError(f"decode: codes over {codes.n_latents} latents, but the decoder has {W_dec.shape[0]}")
    kernel = kernel or choose(W_dec.device)
    dtype = _compute_dtype(W_dec)
    codes = codes.with_values(codes.values.to(dtype))
    weights = W_dec.to(dtype), b_dec.to(dtype)
    if kernel.backend == "cpu":
        return cpu.decode(codes, *weights, kernel).to(W_dec.dtype)
    if kernel.backend == "triton" and dtype == torch.float32:
        return _triton().decode(codes, *weights).to(W_dec.dtype)
    return reference.decode(codes, *weights).to(W_dec.dtype)


def _triton() -> ModuleType:
    """The Triton kernels. Raises ValueError where triton is not installed."""
    try:
        from saebench.kernels import triton
    except ModuleNotFoundError as missing:
        if missing.name != "triton":
            raise
        raise ValueError("the triton kernels need the package triton, which CUDA builds of torch bring") from None
    return triton


def _compute_dtype(weights: Tensor) -> torch.dtype:
    return torch.float64 if weights.dtype == torch.float64 else torch.float32


def _check_shapes(what: str, weights: Tensor, bias: Tensor, expected: torch.Size) -> None:
    if weights.ndim != 2 or bias.shape != expected:
        raise ValueError(f"{what}: weights {tuple(weights.shape)} and bias {tuple(bias.shape)} do not fit each other")
