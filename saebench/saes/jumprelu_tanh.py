"""JumpReLU with a tanh price and a pre-activation loss (Anthropic, "Circuits updates", January 2025).

λ_S Σ tanh(c |f_i| ‖d_i‖) is a soft count of the active latents; λ_P Σ ReLU(θ_i − z_i) ‖d_i‖ pulls the pre-activations
of all silent latents up towards their thresholds, so that none stays dead. Decoder rows have unit norm here. As in the
paper magnitudes are in standard deviations per dimension, ε is wide (2), and λ_S rises over the run: give the trainer
`sparsity_warmup: 1`.

Decisions: the second sum runs over all tokens × latents, but it is linear outside the selected entries: the sum over
everything is B·θ_i − W_enc,i · Σ(x − b_dec) − B·b_enc,i, from which the entries above θ are taken out again. So its
value and its gradient cost one row sum and no dense matrix.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from jaxtyping import Float
from torch import Tensor

from saebench.kernels import SparseCodes
from saebench.saes.jumprelu import JumpReLU, _Jump
from saebench.saes.losses import Loss, fvu, or_one
from saebench.saes.rule import Training, setting

if TYPE_CHECKING:
    from saebench.saes.sae import SAE


@dataclass(frozen=True)
class JumpReLUTanh(JumpReLU):
    """JumpReLU whose price is tanh(c f), with a loss that keeps silent latents near their thresholds."""

    name: ClassVar[str] = "jumprelu_tanh"

    bandwidth: float = setting(2.0, "ε: width of the jump's gradient, in standard deviations per dimension", gt=0)
    tanh_scale: float = setting(4.0, "c: how soon a growing value counts as one active latent", gt=0)
    preactivation_weight: float = setting(3e-6, "λ_P: weight of the pre-activation loss", ge=0)

    def loss(self, sae: "SAE", x: Float[Tensor, "tokens d_in"], training: Training) -> Loss:
        """FVU, the soft count and the pre-activation loss."""
        pre, log_threshold, width = self.band(sae, x, training)
        codes = pre.with_values(_Jump.apply(pre.values, log_threshold, width))
        reconstruction = sae.decode(codes).to(x.dtype)
        error = fvu(reconstruction, x, training.variance)
        unit = or_one(training.variance / sae.d_in).sqrt()
        tokens = max(len(x), 1)
        count = sae.ranks.mean((self.tanh_scale * codes.values / unit).tanh().sum() / tokens, len(x))
        price = count if self.target_l0 is None else (count / self.target_l0 - 1).square()
        parts = {
            "fvu": error,
            "tanh": self.l0_weight * training.sparsity * price,
            "preactivation": self.preactivation_weight * self.shortfall(sae, x, pre, log_threshold) / unit,
        }
        return Loss(parts, error.detach(), codes.positive().detach(), reconstruction)

    def shortfall(
        self,
        sae: "SAE",
        x: Float[Tensor, "tokens d_in"],
        pre: SparseCodes,
        log_threshold: Float[Tensor, " nnz"],
    ) -> Float[Tensor, ""]:
        """Mean over tokens of Σ ReLU(θ_i − z_i) over all latents; `pre` lists at least all entries above θ."""
        tokens = max(len(x), 1)
        dtype = pre.values.dtype
        mean = (x.to(dtype) - sae.b_dec.to(dtype)).sum(0) / tokens
        everywhere = sae.tensor("log_threshold").exp().sum() * (len(x) / tokens)
        everywhere = everywhere - (sae.W_enc.to(dtype) @ mean).sum() - sae.b_enc.to(dtype).sum() * (len(x) / tokens)
        beyond = (pre.values - log_threshold.exp()).clamp_min(0).sum() / tokens
        return sae.ranks.mean(everywhere + beyond, len(x))
