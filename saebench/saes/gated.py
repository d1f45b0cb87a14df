"""Gated SAEs (Rajamanoharan et al. 2024, "Improving dictionary learning with gated sparse autoencoders").

f = 1[π + b_gate > 0] · ReLU(e^r_mag · π + b_enc) with π = W_enc (x − b_dec); b_enc is the paper's b_mag. Only the gate
pays the L1 price, so magnitudes do not shrink; it learns from a reconstruction of its own through a frozen decoder.

Decisions: both paths read the same product, so one selection, π > −b_gate, serves both; magnitude and gate are affine
functions of the selected entries.
"""

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
class Gated(Rule):
    """A gate decides which latents fire, a second affine map how strongly."""

    name: ClassVar[str] = "gated"
    competes: ClassVar[bool] = False
    betas: ClassVar[tuple[float, float]] = (0.0, 0.999)

    l1_weight: float = setting(0.2, "price of the gates' sum, in units of the activations' standard deviation", ge=0)
    initial_l0: int = setting(128, "active latents per token at the start, set through b_gate", ge=1)

    def parameters(self, d_in: int, n_latents: int) -> dict[str, Tensor]:
        """`r_mag`, the log of the magnitude path's scale, and `b_gate`, the gate's bias."""
        del d_in
        return {"r_mag": torch.zeros(n_latents), "b_gate": torch.zeros(n_latents)}

    def initialise(self, sae: "SAE", sample: Float[Tensor, "tokens d_in"]) -> None:
        """Set b_gate so that each latent fires equally often on the sample, `initial_l0` per token in all."""
        sae.tensor("b_gate").copy_(-cuts_at_rate(sae, sample, self.initial_l0))

    def rescale(self, sae: "SAE", factor: float) -> None:
        """The gate's bias is a pre-activation; r_mag is a ratio."""
        sae.tensor("b_gate").mul_(factor)

    def gates(self, sae: "SAE", x: Float[Tensor, "tokens d_in"]) -> tuple[SparseCodes, SparseCodes]:
        """The open gates, with the gate's value and with the (signed) magnitude: same entries."""
        b_gate, r_mag = sae.tensor("b_gate"), sae.tensor("r_mag")
        shared = sae.select(x, Above(-b_gate.detach()), bias=torch.zeros_like(sae.b_enc))
        latents = shared.latents.long()
        gate = shared.values + b_gate[latents]
        magnitude = shared.values * r_mag.exp()[latents] + sae.b_enc.to(r_mag.dtype)[latents]
        return shared.with_values(gate), shared.with_values(magnitude)

    def slope(self, sae: "SAE") -> Float[Tensor, "n_latents d_in"]:
        """The magnitude path's rows."""
        return sae.W_enc * sae.tensor("r_mag").exp()[:, None]

    def encode(self, sae: "SAE", x: Float[Tensor, "tokens d_in"]) -> SparseCodes:
        """The magnitudes above zero of the open gates."""
        return self.gates(sae, x)[1].positive()

    def loss(self, sae: "SAE", x: Float[Tensor, "tokens d_in"], training: Training) -> Loss:
        """FVU, the gates' L1 norm, and the gates' own FVU through the decoder held fixed."""
        gates, magnitudes = self.gates(sae, x)
        codes = magnitudes.positive()
        reconstruction = sae.decode(codes).to(x.dtype)
        by_gates = sae.decode(gates, sae.W_dec.detach(), sae.b_dec.detach()).to(x.dtype)
        error = fvu(reconstruction, x, training.variance)
        parts = {
            "fvu": error,
            "l1": self.l1_weight * training.sparsity * sae.ranks.mean(l1(gates, training.variance), len(x)),
            "gate_fvu": fvu(by_gates, x, training.variance),
        }
        return Loss(parts, error.detach(), codes.detach(), reconstruction)
