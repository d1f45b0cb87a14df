"""Relaxed archetypal SAEs (Fel et al. 2025, "Archetypal SAE"): a decoder that stays near the data, with TopK codes.

W_dec = (W C + Λ) · e^m: the rows of W are convex weights over the candidate points C (centroids of the data), the rows
of Λ are at most δ long. So each latent is a mixture of real activations, up to a small deviation.

Decisions: there are as many candidates as latents, because W begins as the identity. The constraints are projections
after each step: a ReLU in the forward pass would pass no gradient to the weights that begin at zero. W_dec is derived:
it is written after each step, so that a finished SAE decodes like any other.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from saebench.saes.rule import setting
from saebench.saes.topk import TopK

if TYPE_CHECKING:
    from saebench.saes.sae import SAE

LLOYD_ROUNDS = 5


@dataclass(frozen=True)
class Archetypal(TopK):
    """TopK codes over a dictionary of near-convex mixtures of data points."""

    name: ClassVar[str] = "archetypal"
    unit_decoder: ClassVar[bool] = False
    derived_decoder: ClassVar[bool] = True
    common: ClassVar[tuple[str, ...]] = ("points",)

    delta: float = setting(1.0, "δ: how far a dictionary row may leave the data's convex hull, in mean norms", ge=0)
    start: Literal["identity", "random"] = setting(
        "identity", "weights over the candidates at the start: each its own, or random mixtures"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start not in ("identity", "random"):
            raise ValueError(f"Archetypal: start must be identity or random, got {self.start!r}")

    def parameters(self, d_in: int, n_latents: int) -> dict[str, Tensor]:
        """`mixture` W, `deviation` Λ and `log_scale` m."""
        if self.start == "identity":
            mixture = torch.eye(n_latents)
        else:
            mixture = torch.rand(n_latents, n_latents, generator=torch.Generator().manual_seed(n_latents))
        return {"mixture": mixture, "deviation": torch.zeros(n_latents, d_in), "log_scale": torch.zeros(())}

    def buffers(self, d_in: int, n_latents: int) -> dict[str, Tensor]:
        """`points` C, random directions until fitted to a sample."""
        points = torch.randn(n_latents, d_in, generator=torch.Generator().manual_seed(d_in))
        return {"points": points / points.norm(dim=1, keepdim=True)}

    def initialise(self, sae: "SAE", sample: Float[Tensor, "tokens d_in"]) -> None:
        """Set the points to centroids of the centred sample, of mean norm 1, and the encoder to the dictionary."""
        points = centroids((sample - sae.b_dec).float(), sae.n_latents)
        sae.tensor("points").copy_(points / points.norm(dim=1).mean().clamp_min(1e-30))
        self.constrain(sae)
        sae.W_enc.copy_(sae.W_dec / sae.W_dec.norm(dim=1, keepdim=True).clamp_min(1e-30))

    def dictionary(self, sae: "SAE") -> Float[Tensor, "n_latents d_in"]:
        """(W C + Λ) · e^m."""
        return (sae.tensor("mixture") @ sae.tensor("points") + sae.tensor("deviation")) * sae.tensor("log_scale").exp()

    def constrain(self, sae: "SAE") -> None:
        """Project W's rows to convex weights and Λ's to length δ, then write W_dec."""
        mixture, deviation = sae.tensor("mixture"), sae.tensor("deviation")
        mixture.relu_().div_(mixture.sum(1, keepdim=True).clamp_min(1e-12))
        length = torch.linalg.vector_norm(deviation, dim=1, keepdim=True)
        deviation.mul_((self.delta / length.clamp_min(1e-12)).clamp_max(1))
        sae.W_dec.copy_(self.dictionary(sae))


@torch.no_grad()
def centroids(points: Float[Tensor, "n d"], k: int) -> Float[Tensor, "k d"]:
    """k centroids by a few rounds of Lloyd's algorithm from evenly spaced points; an empty cluster keeps its centre.

    Fewer points than k: repeated.
    """
    centres = points[torch.linspace(0, len(points) - 1, k, device=points.device).round().long()].clone()
    for _ in range(LLOYD_ROUNDS):
        half_squares = centres.square().sum(1) / 2
        nearest = torch.cat([(part @ centres.T - half_squares).argmax(1) for part in points.split(1024)])
        counts = torch.bincount(nearest, minlength=k)
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        centres = torch.where(counts[:, None] > 0, sums / counts[:, None].clamp_min(1), centres)
    return centres
