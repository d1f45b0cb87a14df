"""The kernels as plain dense torch: the truth that the other backends are tested against, values and gradients.

Decisions: every tensor is dense and autograd does the rest; nothing here is fast or small.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saebench.kernels.codes import SparseCodes
from saebench.kernels.selection import Above, PerBatch, PerLatent, PerToken, Selection


def encode(
    x: Float[Tensor, "tokens d_in"],
    W_enc: Float[Tensor, "n_latents d_in"],
    b_enc: Float[Tensor, " n_latents"],
    selection: Selection,
    centre: Float[Tensor, " d_in"],
    among: Int[Tensor, " some"] | None,
) -> SparseCodes:
    """The selected entries of W_enc (x − centre) + b_enc, the selection restricted to the latents `among`."""
    pre = (x - centre) @ W_enc.T + b_enc
    allowed = torch.ones_like(pre, dtype=torch.bool)
    if among is not None:
        allowed &= torch.zeros(W_enc.shape[0], dtype=torch.bool, device=x.device).index_fill(0, among, True)
    chosen = select(pre.detach().masked_fill(~allowed, -torch.inf), selection) & allowed
    tokens, latents = chosen.nonzero(as_tuple=True)
    offsets = torch.zeros(len(x) + 1, dtype=torch.int64, device=x.device)
    torch.cumsum(chosen.sum(1), 0, out=offsets[1:])
    return SparseCodes(pre[tokens, latents], latents.int(), offsets, W_enc.shape[0])


def select(pre: Float[Tensor, "tokens n_latents"], selection: Selection) -> Bool[Tensor, "tokens n_latents"]:
    """Which pre-activations a selection takes."""
    match selection:
        case PerToken(k):
            largest = pre.topk(min(k, pre.shape[1]), dim=1).indices
            return torch.zeros_like(pre, dtype=torch.bool).scatter_(1, largest, True) & (pre > 0)
        case PerBatch(k):
            largest = pre.flatten().topk(min(k * len(pre), pre.numel())).indices
            return torch.zeros_like(pre, dtype=torch.bool).flatten().scatter_(0, largest, True).view_as(pre) & (pre > 0)
        case PerLatent(budgets):
            rank = pre.argsort(dim=0, descending=True, stable=True).argsort(dim=0)
            return (rank < budgets) & (pre > 0)
        case Above(thresholds):
            return pre > thresholds


def decode(
    codes: SparseCodes, W_dec: Float[Tensor, "n_latents d_in"], b_dec: Float[Tensor, " d_in"]
) -> Float[Tensor, "tokens d_in"]:
    """Codes · W_dec + b_dec."""
    return codes.to_dense().to(W_dec.dtype) @ W_dec + b_dec
