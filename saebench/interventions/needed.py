"""The activations of a few features, without encoding all of them where the rule allows it.

Decisions: a rule that selects by a threshold needs the rows of these features alone, so they are a small dense product,
whatever the number of tokens. One that takes each token's k largest needs the k-th largest of all pre-activations, if
only now and then (`saebench.interventions.largest`); for many tokens at once the SAE's own kernels are faster and need
less memory. Any other rule encodes with the part of the SAE that is needed, or with all of it.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.interventions.largest import Largest
from saebench.kernels import Above, PerToken
from saebench.saes import SAE, layer_norm

FEW_TOKENS = 64

Activations = Callable[[Float[Tensor, "rows d_in"]], Float[Tensor, "rows some"]]
"""Rows of activations of a language model → activations of some features, in float32."""


@torch.no_grad()
def activations_of(sae: SAE, features: Int[Tensor, " some"]) -> Activations:
    """What gives the activations of `features` (rising) as the SAE serves.

    Raises:
        ValueError: the rule's threshold was never estimated.
    """
    match sae.rule.serving(sae):
        case Above(thresholds):
            return _normalised(sae, _above(sae, features, thresholds))
        case PerToken(k):
            of_few, of_many = _normalised(sae, Largest(sae, features, k)), _among_all(sae, features)
            return lambda x: of_few(x) if len(x) <= FEW_TOKENS else of_many(x)
    if sae.rule.competes:
        return _among_all(sae, features)
    some = part(sae, features)
    return lambda x: some.encode(x).to_dense().float()


def _normalised(sae: SAE, activations: Activations) -> Activations:
    if sae.normalise == "layer_norm":
        return lambda x: activations(layer_norm.normalise(x))
    return activations


def _above(sae: SAE, features: Int[Tensor, " some"], thresholds: Float[Tensor, " n_latents"]) -> Activations:
    W, b, centre = (each.detach().float() for each in (sae.W_enc[features].T, sae.b_enc[features], sae.b_dec))
    cut = thresholds[features].detach().float().clamp_min(0)

    def above(x: Float[Tensor, "rows d_in"]) -> Float[Tensor, "rows some"]:
        pre = torch.addmm(b, x - centre, W)
        return pre.where(pre > cut, 0.0)

    return above


def _among_all(sae: SAE, features: Int[Tensor, " some"]) -> Activations:
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
