"""The activations of a few features, without encoding all of them where the rule allows it."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.saes import SAE


def activations_of(
    sae: SAE, features: Int[Tensor, " some"]
) -> Callable[[Float[Tensor, "rows d_in"]], Float[Tensor, "rows some"]]:
    """What gives the activations of `features` (rising) on rows of activations, in float32.

    Under a rule whose latents compete (TopK) the whole SAE encodes; under one that looks at each latent by itself, the
    needed rows of it do.
    """
    if not sae.rule.competes:
        some = part(sae, features)
        return lambda x: some.encode(x).to_dense().float()

    def among_all(x: Float[Tensor, "rows d_in"]) -> Float[Tensor, "rows some"]:
        codes = sae.encode(x)
        mine = torch.isin(codes.latents, features)
        columns = torch.searchsorted(features, codes.latents[mine].long())
        out = x.new_zeros(len(x), len(features), dtype=torch.float32)
        out[codes.tokens[mine].long(), columns] = codes.values[mine].float()
        return out

    return among_all


def part(sae: SAE, features: Int[Tensor, " some"]) -> SAE:
    """The SAE of some of the latents, for a rule under which they do not compete."""
    own = {
        name: tensor[features] if name not in sae.rule.common and tensor.ndim else tensor
        for name, tensor in sae.rule_tensors().items()
    }
    W_enc, b_enc, W_dec = (weights.detach()[features] for weights in (sae.W_enc, sae.b_enc, sae.W_dec))
    return SAE(W_enc, b_enc, W_dec, sae.b_dec.detach(), sae.rule, sae.normalise, **own).eval()
