"""TopK and Multi-TopK (Gao et al. 2024, "Scaling and evaluating sparse autoencoders")."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from jaxtyping import Float
from torch import Tensor

from saebench.kernels import PerToken, SparseCodes
from saebench.saes.budget import Budget
from saebench.saes.losses import Loss, fvu
from saebench.saes.rule import Training, setting

if TYPE_CHECKING:
    from saebench.saes.sae import SAE


@dataclass(frozen=True)
class TopK(Budget):
    """Each token keeps its k largest latents, in training and after.

    With `multi_k`, the reconstruction from that many latents is trained as well (Multi-TopK, appendix A.3 there: 4k,
    weight 1/8), so that the SAE keeps making sense at other k.
    """

    name: ClassVar[str] = "topk"

    multi_k: int | None = setting(None, "latents of a second reconstruction (Multi-TopK, 4k in the paper)", ge=2)
    multi_weight: float = setting(1 / 8, "weight of the second reconstruction's loss", ge=0)

    def check(self, d_in: int, n_latents: int) -> None:
        """Raise ValueError unless k < multi_k ≤ n_latents and k < n_latents."""
        super().check(d_in, n_latents)
        if self.multi_k is not None and not self.k < self.multi_k <= n_latents:
            raise ValueError(
                f"TopK: multi_k = {self.multi_k} must be larger than k = {self.k} and at most n_latents = {n_latents}"
            )

    def encode(self, sae: "SAE", x: Float[Tensor, "tokens d_in"]) -> SparseCodes:
        """The k largest latents of each token, of those above zero."""
        return sae.select(x, self.serving(sae))

    def serving(self, sae: "SAE") -> PerToken:
        """The k largest of each token."""
        del sae
        return PerToken(self.k)

    def loss(self, sae: "SAE", x: Float[Tensor, "tokens d_in"], training: Training) -> Loss:
        """FVU, Multi-TopK's FVU and AuxK; one product serves both reconstructions."""
        W_dec = self.dictionary(sae)
        wide = sae.select(x, PerToken(self.multi_k or self.k))
        codes = sae.ranks.top(wide, self.k)
        reconstruction = sae.decode(codes, W_dec).to(x.dtype)
        error = fvu(reconstruction, x, training.variance)
        parts = {"fvu": error}
        if self.multi_k is not None:
            parts["multi_topk"] = self.multi_weight * fvu(sae.decode(wide, W_dec).to(x.dtype), x, training.variance)
        parts |= self.auxiliary(sae, x, reconstruction, training, W_dec)
        return Loss(parts, error.detach(), codes.detach(), reconstruction)
