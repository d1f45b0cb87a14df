"""Sums of rows and dot products at given places: what decoding and every gradient are made of on a CPU.

Decisions: compiled (`sparse.c`) for float32 where a compiler was found, torch's `embedding_bag` and `sampled_addmm`
otherwise. Each output is summed by one thread in a fixed order: the same inputs give the same bits.
"""

import warnings

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag

from saebench.kernels.native import library, pointer

INT32_MAX = 2**31 - 1

with warnings.catch_warnings():  # torch announces once per process that CSR tensors are in beta; spend it here
    warnings.simplefilter("ignore")
    torch.eye(1).to_sparse_csr()


def sampled_product(
    left: Float[Tensor, "tokens d_in"],
    right: Float[Tensor, "n_latents d_in"],
    latents: Int[Tensor, " nnz"],
    offsets: Int[Tensor, " tokens+1"],
    native: bool = False,
) -> Float[Tensor, " nnz"]:
    """⟨left of the token, right of the latent⟩ of every entry."""
    if not len(latents):
        return left.new_empty(0)
    if native and left.dtype == torch.float32:
        left, right, latents, offsets = left.contiguous(), right.contiguous(), latents.int(), offsets.long()
        out = torch.empty(len(latents))
        sizes = (len(left), left.shape[1])
        library().sampled_dot(
            *map(pointer, (left, right, offsets, latents)), *sizes, pointer(out), torch.get_num_threads()
        )
        return out
    zeros, size = left.new_zeros(len(latents)), (len(left), len(right))
    at = torch.sparse_csr_tensor(*_one_width(offsets, latents), zeros, size=size, check_invariants=False)
    return torch.sparse.sampled_addmm(at, left, right.t(), beta=0.0).values()


def bags(
    rows: Int[Tensor, " nnz"],
    offsets: Int[Tensor, " bags+1"],
    weights: Float[Tensor, " nnz"],
    table: Float[Tensor, "rows d"],
    *,
    order: Int[Tensor, " nnz"] | None = None,
    minus: Float[Tensor, " d"] | None = None,
    start: Float[Tensor, " d"] | None = None,
    native: bool = False,
) -> Float[Tensor, "bags d"]:
    """`start` + weighted sums of the table's rows − minus, one per bag; entry e has the weight weights[order[e]]."""
    n, width = len(offsets) - 1, table.shape[1]
    if native and table.dtype == torch.float32:
        table, weights, rows, offsets = table.contiguous(), weights.contiguous(), rows.int(), offsets.long()
        minus, start = (None if t is None else t.contiguous() for t in (minus, start))
        out = torch.empty(n, width)
        library().gather_sum(
            *map(pointer, (table, offsets, rows, weights, order, minus, start)),
            n,
            width,
            pointer(out),
            torch.get_num_threads(),
        )
        return out
    if not len(rows):
        out = table.new_zeros(n, width)
    else:
        offsets, rows = _one_width(offsets, rows)
        weights = weights if order is None else weights[order]
        table = table if minus is None else table - minus
        out = embedding_bag(rows, table, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True)
    return out if start is None else out.add_(start)


def _one_width(offsets: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Both as int32, the faster, or as int64 where the entries are too many for it."""
    dtype = torch.int32 if len(indices) <= INT32_MAX else torch.int64
    return offsets.to(dtype), indices.to(dtype)
