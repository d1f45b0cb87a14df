"""TopK (Gao et al. 2024, "Scaling and evaluating sparse autoencoders") with AuxK for dead latents.

Decisions: AuxK selects among the dead latents with a product of its own over those latents only: its cost is their
share of the encoder's, nothing when none is dead, and its gradient reaches the encoder like any other. A latent fires
when it is selected with a value above zero.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from saebench.kernels import PerToken, decode
from saebench.saes.losses import fvu, variance

if TYPE_CHECKING:
    from saebench.saes.sae import SAE


@dataclass(frozen=True)
class TopK:
    """Each token keeps its k largest latents. Raises ValueError for settings that make no sense."""

    name: ClassVar[str] = "topk"

    k: int = 32
    """Active latents per token."""
    k_aux: int | None = None
    """Dead latents per token that AuxK trains on the residual; none given: half of d_in."""
    aux_weight: float = 1 / 32
    """Weight of AuxK in the loss; 0 switches it off."""
    dead_after: int = 10_000_000
    """Tokens without firing after which a latent counts as dead."""

    def __post_init__(self) -> None:
        for key, low in (("k", 1), ("dead_after", 1), ("aux_weight", 0)):
            if not getattr(self, key) >= low:
                raise ValueError(f"TopK: {key} must be at least {low}, got {getattr(self, key)}")
        if self.k_aux is not None and self.k_aux < 1:
            raise ValueError(f"TopK: k_aux must be at least 1, got {self.k_aux}")

    def check(self, d_in: int, n_latents: int) -> None:
        """Raise ValueError unless the rule fits an SAE of this size."""
        del d_in
        if self.k >= n_latents:
            raise ValueError(f"TopK: k = {self.k} must be smaller than n_latents = {n_latents}")

    @property
    def selection(self) -> PerToken:
        """What the kernels select, in training and after."""
        return PerToken(self.k)

    def losses(
        self,
        sae: "SAE",
        x: Float[Tensor, "tokens d_in"],
        reconstruction: Float[Tensor, "tokens d_in"],
        dead: Bool[Tensor, " n_latents"] | None,
    ) -> dict[str, Float[Tensor, ""]]:
        """The weighted loss terms beside the reconstruction error."""
        if dead is None or not self.aux_weight or not bool(dead.any()):
            return {}
        k_aux = self.k_aux or max(sae.d_in // 2, 1)
        return {"auxk": self.aux_weight * auxk(sae, x, reconstruction, dead, k_aux)}


def auxk(
    sae: "SAE",
    x: Float[Tensor, "tokens d_in"],
    reconstruction: Float[Tensor, "tokens d_in"],
    dead: Bool[Tensor, " n_latents"],
    k_aux: int,
) -> Float[Tensor, ""]:
    """FVU of predicting the residual e = x − x̂ (held fixed) by the top k_aux dead latents; 0 where e has no variance.

    The bias b_dec is in x̂ already and is not added again.
    """
    residual = (x - reconstruction).detach()
    codes = sae.encode(x, rule=PerToken(k_aux), among=dead.nonzero().squeeze(1))
    prediction = decode(codes, sae.W_dec, torch.zeros_like(sae.b_dec), kernel=sae.kernel)
    return fvu(prediction, residual) * (variance(residual) > 0)
