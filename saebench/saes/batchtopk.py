"""BatchTopK (Bussmann, Leask & Nanda 2024): k latents per token on average, free to differ between tokens."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from saebench.kernels import Above, PerBatch, SparseCodes
from saebench.saes.budget import Budget
from saebench.saes.losses import Loss, fvu
from saebench.saes.rule import Training
from saebench.saes.threshold import above, expected_cut, track

if TYPE_CHECKING:
    from saebench.saes.sae import SAE


@dataclass(frozen=True)
class BatchTopK(Budget):
    """The k × tokens largest latents of the batch; after training, those above the average batch's cut."""

    name: ClassVar[str] = "batchtopk"

    def buffers(self, d_in: int, n_latents: int) -> dict[str, Tensor]:
        """`threshold`: the smallest selected value of a batch, averaged."""
        del d_in, n_latents
        return {"threshold": torch.tensor(torch.nan)}

    def rescale(self, sae: "SAE", factor: float) -> None:
        """The threshold is a pre-activation."""
        sae.tensor("threshold").mul_(factor)

    def encode(self, sae: "SAE", x: Float[Tensor, "tokens d_in"]) -> SparseCodes:
        """Over the batch in training, by the threshold after."""
        if sae.training:
            return sae.select(x, PerBatch(self.k, expected_cut(sae.tensor("threshold"))))
        return sae.select(x, self.serving(sae))

    def serving(self, sae: "SAE") -> Above:
        """Above the average batch's cut."""
        return above(sae, sae.tensor("threshold"))

    def loss(self, sae: "SAE", x: Float[Tensor, "tokens d_in"], training: Training) -> Loss:
        """FVU and AuxK."""
        codes = self.encode(sae, x)
        reconstruction = sae.decode(codes).to(x.dtype)
        error = fvu(reconstruction, x, training.variance)
        parts = {"fvu": error} | self.auxiliary(sae, x, reconstruction, training)
        return Loss(parts, error.detach(), codes.detach(), reconstruction)

    def update(self, sae: "SAE", codes: SparseCodes) -> None:
        """Track the batch's cut."""
        track(sae.tensor("threshold"), codes, sae.ranks)
