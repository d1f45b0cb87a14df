"""The kernels as plain dense torch: the truth that the other backends are tested against, values and gradients.

Decisions: every tensor is dense and autograd does the rest; nothing here is fast or small.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.kernels.codes import SparseCodes, positive_entries
from saebench.kernels.selection import PerToken


def encode(
    x: Float[Tensor, "tokens d_in"],
    W_enc: Float[Tensor, "n_latents d_in"],
    b_enc: Float[Tensor, " n_latents"],
    selection: PerToken,
    centre: Float[Tensor, " d_in"],
    among: Int[Tensor, " some"] | None,
) -> SparseCodes:
    """ReLU(TopK(W_enc (x − centre) + b_enc)), the selection restricted to the latents `among`."""
    pre = (x - centre) @ W_enc.T + b_enc
    k = min(selection.k, W_enc.shape[0])
    if among is not None:
        k = min(k, len(among))
        outside = torch.ones(W_enc.shape[0], dtype=torch.bool, device=x.device).index_fill(0, among, False)
        pre = pre.masked_fill(outside, -torch.inf)
    values, latents = pre.topk(k, dim=1)
    return positive_entries(values, latents, W_enc.shape[0])


def decode(
    codes: SparseCodes, W_dec: Float[Tensor, "n_latents d_in"], b_dec: Float[Tensor, " d_in"]
) -> Float[Tensor, "tokens d_in"]:
    """Codes · W_dec + b_dec."""
    return codes.to_dense().to(W_dec.dtype) @ W_dec + b_dec
