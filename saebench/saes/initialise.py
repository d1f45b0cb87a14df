"""Fitting a fresh SAE to a sample of its data before the first step (Gao et al. 2024, appendix A)."""

import torch
from jaxtyping import Float
from torch import Tensor

from saebench.saes import layer_norm
from saebench.saes.geometric_median import geometric_median
from saebench.saes.sae import SAE


@torch.no_grad()
def initialise(sae: SAE, sample: Float[Tensor, "tokens d_in"]) -> None:
    """Set b_dec to the sample's geometric median, let the rule fit its own, scale so that output norm ≈ input norm.

    The norms are those about b_dec. Raises ValueError for an empty sample or one with NaN or Inf.
    """
    sample = sample.to(sae.W_dec.dtype)
    if not len(sample) or not sample.isfinite().all():
        raise ValueError("initialise: the sample of activations is empty or contains NaN or Inf")
    inside = layer_norm.normalise(sample) if sae.normalise == "layer_norm" else sample
    sae.b_dec.copy_(geometric_median(inside))
    sae.rule.initialise(sae, inside)
    part = inside[:4096]
    centred = (part - sae.b_dec).norm(dim=1).mean()
    decoded = (
        (sae.loss(part if sae.normalise == "none" else sample[:4096]).reconstruction - sae.b_dec).norm(dim=1).mean()
    )
    if decoded > 0:
        scale = float(centred / decoded)
        sae.W_enc.mul_(scale)
        sae.b_enc.mul_(scale)
        sae.rule.rescale(sae, scale)
