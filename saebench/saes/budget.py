"""What the rules with a budget of k latents per token share: the budget, and AuxK for latents that died.

Decisions: AuxK selects among the dead latents with a product of its own over those latents only: its cost is their
share of the encoder's, nothing when none is dead, and its gradient reaches the encoder like any other. A latent fires
when it is selected with a value above zero.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saebench.kernels import PerToken, SparseCodes
from saebench.saes.losses import fvu
from saebench.saes.rule import Rule, Training, setting

if TYPE_CHECKING:
    from saebench.saes.sae import SAE


@dataclass(frozen=True)
class Budget(Rule):
    """A rule that spends k latents per token, in one way or another."""

    k: int = setting(32, "active latents per token, on average over a batch", ge=1)
    k_aux: int | None = setting(
        None, "unused latents per token that an auxiliary loss trains on the residual; none: half of d_in", ge=1
    )
    aux_weight: float = setting(1 / 32, "weight of that auxiliary loss; 0 switches it off", ge=0)

    def check(self, d_in: int, n_latents: int) -> None:
        """Raise ValueError unless k is smaller than the number of latents."""
        del d_in
        if self.k >= n_latents:
            raise ValueError(f"{type(self).__name__}: k = {self.k} must be smaller than n_latents = {n_latents}")

    def auxiliary(
        self,
        sae: "SAE",
        x: Float[Tensor, "tokens d_in"],
        reconstruction: Float[Tensor, "tokens d_in"],
        training: Training,
        W_dec: Float[Tensor, "n_latents d_in"] | None = None,
    ) -> dict[str, Float[Tensor, ""]]:
        """AuxK (Gao et al. 2024, section A.2) as a part of the loss; nothing where no latent is dead."""
        dead = training.dead
        if dead is None or not self.aux_weight or not sae.ranks.any(dead):
            return {}
        codes = among(sae, x, dead, self.k_aux)
        return {"auxk": self.aux_weight * residual_fvu(sae, x, reconstruction, codes, W_dec)}


def among(
    sae: "SAE", x: Float[Tensor, "tokens d_in"], latents: Bool[Tensor, " n_latents"], k: int | None
) -> SparseCodes:
    """Codes of the k (none: half of d_in) largest of the marked latents of each token."""
    return sae.select(x, PerToken(k or max(sae.d_in // 2, 1)), among=latents.nonzero().squeeze(1))


def residual_fvu(
    sae: "SAE",
    x: Float[Tensor, "tokens d_in"],
    reconstruction: Float[Tensor, "tokens d_in"],
    codes: SparseCodes,
    W_dec: Float[Tensor, "n_latents d_in"] | None = None,
) -> Float[Tensor, ""]:
    """FVU of predicting the residual e = x − x̂ (held fixed) by codes; 0 where e has no variance.

    The bias b_dec is in x̂ already and is not added again.
    """
    residual = (x - reconstruction).detach()
    spread = sae.ranks.variance(residual)
    prediction = sae.decode(codes, W_dec, torch.zeros_like(sae.b_dec)).to(x.dtype)
    return fvu(prediction, residual, spread) * (spread > 0)


def per_latent_minimum(codes: SparseCodes) -> Float[Tensor, " n_latents"]:
    """The smallest value of each latent in codes; infinite where it has none."""
    smallest = codes.values.new_full((codes.n_latents,), torch.inf)
    return smallest.scatter_reduce_(0, codes.latents.long(), codes.values, "amin")


def firing_counts(codes: SparseCodes) -> Int[Tensor, " n_latents"]:
    """Number of tokens on which each latent is listed."""
    return codes.pattern.by_latent.offsets.diff()
