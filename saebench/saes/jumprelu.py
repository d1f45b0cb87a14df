"""JumpReLU (Rajamanoharan et al. 2024, "Jumping ahead") with its straight-through estimator.

f = z · 1[z > θ], θ = exp(log_threshold). The loss counts active latents; both jumps pass a gradient to θ through a
rectangle of width ε around them: ∂f/∂θ = −(θ/ε) 1[|z−θ| < ε/2] and ∂‖f‖₀/∂θ = −(1/ε) 1[|z−θ| < ε/2].

Decisions: the kernels select everything above θ − ε/2; the entries between θ − ε/2 and θ have the value zero, carry the
estimator's gradient, and have not fired. θ begins per latent where all latents fire equally often, because a logarithm
under Adam moves by a factor only: from one small θ for all it would hardly arrive.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from saebench.kernels import Above, SparseCodes
from saebench.saes.firing import cuts_at_rate
from saebench.saes.losses import Loss, fvu
from saebench.saes.rule import Rule, Training, setting

if TYPE_CHECKING:
    from saebench.saes.sae import SAE

LOWEST = 1e-3


@dataclass(frozen=True)
class JumpReLU(Rule):
    """Every latent above its own learned threshold, with a price on their number."""

    name: ClassVar[str] = "jumprelu"
    competes: ClassVar[bool] = False
    betas: ClassVar[tuple[float, float]] = (0.0, 0.999)

    l0_weight: float = setting(2e-3, "price of an active latent per token, or, with target_l0, of missing it", ge=0)
    target_l0: float | None = setting(
        None, "active latents per token to aim for: the price becomes l0_weight (L0 / target_l0 − 1)²", gt=0
    )
    bandwidth: float = setting(0.05, "ε: width of the jump's gradient, in standard deviations per dimension", gt=0)
    initial_l0: int = setting(128, "active latents per token at the start, set through the thresholds", ge=1)

    def parameters(self, d_in: int, n_latents: int) -> dict[str, Tensor]:
        """`log_threshold`, small until fitted to a sample."""
        del d_in
        return {"log_threshold": torch.full((n_latents,), LOWEST).log()}

    def initialise(self, sae: "SAE", sample: Float[Tensor, "tokens d_in"]) -> None:
        """Set the thresholds so that each latent fires equally often on the sample, `initial_l0` per token in all."""
        sae.tensor("log_threshold").copy_(cuts_at_rate(sae, sample, self.initial_l0).clamp_min(LOWEST).log())

    def rescale(self, sae: "SAE", factor: float) -> None:
        """Thresholds are pre-activations."""
        sae.tensor("log_threshold").add_(torch.tensor(factor).log().item())

    def encode(self, sae: "SAE", x: Float[Tensor, "tokens d_in"]) -> SparseCodes:
        """Every latent above its threshold."""
        return sae.select(x, self.serving(sae))

    def serving(self, sae: "SAE") -> Above:
        """Above each latent's threshold."""
        return Above(sae.tensor("log_threshold").detach().exp())

    def band(
        self, sae: "SAE", x: Float[Tensor, "tokens d_in"], training: Training
    ) -> tuple[SparseCodes, Float[Tensor, " nnz"], float]:
        """All entries above θ − ε/2 as pre-activations, the log threshold of each, and ε in their units."""
        log_threshold = sae.tensor("log_threshold")
        width = self.bandwidth * float((training.variance / sae.d_in).sqrt())
        pre = sae.select(x, Above(log_threshold.detach().exp() - width / 2))
        return pre, log_threshold[pre.latents.long()], width

    def loss(self, sae: "SAE", x: Float[Tensor, "tokens d_in"], training: Training) -> Loss:
        """FVU and the price of the active latents."""
        pre, log_threshold, width = self.band(sae, x, training)
        codes = pre.with_values(_Jump.apply(pre.values, log_threshold, width))
        reconstruction = sae.decode(codes).to(x.dtype)
        error = fvu(reconstruction, x, training.variance)
        l0 = sae.ranks.mean(_Step.apply(pre.values, log_threshold, width).sum() / max(len(x), 1), len(x))
        price = l0 if self.target_l0 is None else (l0 / self.target_l0 - 1).square()
        parts = {"fvu": error, "l0": self.l0_weight * training.sparsity * price}
        return Loss(parts, error.detach(), codes.positive().detach(), reconstruction)


class _Jump(torch.autograd.Function):
    """z · 1[z > θ] for entries, θ given by its logarithm; equations 11 and 12 of the paper."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, log_threshold: Tensor, width: float) -> Tensor:
        threshold = log_threshold.exp()
        ctx.save_for_backward(z, threshold)
        ctx.width = width
        return torch.where(z > threshold, z, 0.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        (z, threshold), width = ctx.saved_tensors, ctx.width
        inside = (z - threshold).abs() < width / 2
        return grad * (z > threshold), -grad * threshold.square() / width * inside, None


class _Step(torch.autograd.Function):
    """1[z > θ] for entries; passes no gradient to z."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, log_threshold: Tensor, width: float) -> Tensor:
        threshold = log_threshold.exp()
        ctx.save_for_backward(z, threshold)
        ctx.width = width
        return (z > threshold).to(z.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, None]:
        (z, threshold), width = ctx.saved_tensors, ctx.width
        inside = (z - threshold).abs() < width / 2
        return None, -grad * threshold / width * inside, None
