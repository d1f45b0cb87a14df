"""Starting a rule that selects by threshold at a given sparsity.

A latent of random direction is above zero for half of all tokens. Rules that have no budget would begin with half of
all latents active, far from where they end and as costly as dense training. Instead each latent's cut is set so that
all fire equally often on a sample (after Anthropic's update of January 2025, which sets the encoder's bias so).
"""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from saebench.kernels import PerLatent
from saebench.saes.budget import per_latent_minimum

if TYPE_CHECKING:
    from saebench.saes.sae import SAE


@torch.no_grad()
def cuts_at_rate(sae: "SAE", sample: Float[Tensor, "tokens d_in"], l0: int) -> Float[Tensor, " n_latents"]:
    """The pre-activation W_enc (x − b_dec) above which each latent lies on l0 / n_latents of the sample's tokens.

    At least one token each; zero for a latent that is positive on fewer.
    """
    budget = max(1, round(l0 * len(sample) / sae.n_latents))
    each = torch.full((sae.n_latents,), min(budget, len(sample)), device=sample.device)
    codes = sae.select(sample, PerLatent(each), bias=torch.zeros_like(sae.b_enc))
    reached = codes.pattern.by_latent.offsets.diff() >= each
    return torch.where(reached, per_latent_minimum(codes), 0.0)
