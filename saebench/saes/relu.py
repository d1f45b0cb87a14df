"""ReLU with an L1 penalty (Bricken et al. 2023, "Towards monosemanticity"; Cunningham et al. 2023)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from saebench.kernels import Above, SparseCodes
from saebench.saes.firing import cuts_at_rate
from saebench.saes.losses import Loss, fvu, l1
from saebench.saes.rule import Rule, Training, setting

if TYPE_CHECKING:
    from saebench.saes.sae import SAE


@dataclass(frozen=True)
class ReLU(Rule):
    """Every latent above zero, with a price on the sum of the values. Decoder rows have unit norm."""

    name: ClassVar[str] = "relu"
    competes: ClassVar[bool] = False

    l1_weight: float = setting(0.1, "price of the values' sum, in units of the activations' standard deviation", ge=0)
    initial_l0: int = setting(128, "active latents per token at the start, set through b_enc", ge=1)

    def initialise(self, sae: "SAE", sample: Float[Tensor, "tokens d_in"]) -> None:
        """Set b_enc so that each latent fires equally often on the sample, `initial_l0` per token in all."""
        sae.b_enc.copy_(-cuts_at_rate(sae, sample, self.initial_l0))

    def encode(self, sae: "SAE", x: Float[Tensor, "tokens d_in"]) -> SparseCodes:
        """Every latent above zero."""
        return sae.select(x, self.serving(sae))

    def serving(self, sae: "SAE") -> Above:
        """Above zero."""
        return Above(torch.zeros_like(sae.b_enc, dtype=torch.float32))

    def loss(self, sae: "SAE", x: Float[Tensor, "tokens d_in"], training: Training) -> Loss:
        """FVU and the L1 norm of the codes."""
        codes = self.encode(sae, x)
        reconstruction = sae.decode(codes).to(x.dtype)
        error = fvu(reconstruction, x, training.variance)
        price = sae.ranks.mean(l1(codes, training.variance), len(x))
        parts = {"fvu": error, "l1": self.l1_weight * training.sparsity * price}
        return Loss(parts, error.detach(), codes.detach(), reconstruction)
