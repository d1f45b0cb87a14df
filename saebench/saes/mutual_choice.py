"""Mutual Choice (Ayonrinde 2024): one budget spent freely over tokens × latents. A reconstruction, see `zipf`.

The constraint is on the affinities of a batch: its k × tokens largest entries, which token and which latent ever they
belong to. Inference is by threshold. What sets it apart from BatchTopK is aux_zipf: every latent used less than Zipf's
law gives it is trained on the residual, not only the dead.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from saebench.kernels import SparseCodes
from saebench.saes import zipf
from saebench.saes.batchtopk import BatchTopK
from saebench.saes.rule import Training, setting

if TYPE_CHECKING:
    from saebench.saes.sae import SAE


@dataclass(frozen=True)
class MutualChoice(BatchTopK):
    """The k × tokens largest latents of the batch, with aux_zipf for the underused."""

    name: ClassVar[str] = "mutual_choice"

    exponent: float = setting(1.0, "s of Zipf's law: a latent's density falls as its rank to the power of -s", ge=0)

    def buffers(self, d_in: int, n_latents: int) -> dict[str, Tensor]:
        """`threshold`, and `density`: each latent's firing rate, averaged."""
        return super().buffers(d_in, n_latents) | {"density": torch.full((n_latents,), torch.nan)}

    def auxiliary(
        self,
        sae: "SAE",
        x: Float[Tensor, "tokens d_in"],
        reconstruction: Float[Tensor, "tokens d_in"],
        training: Training,
        W_dec: Float[Tensor, "n_latents d_in"] | None = None,
    ) -> dict[str, Float[Tensor, ""]]:
        """aux_zipf as a part of the loss."""
        del training, W_dec
        if not self.aux_weight:
            return {}
        return {"aux_zipf": self.aux_weight * zipf.aux_zipf(sae, x, reconstruction, self.k, self.k_aux, self.exponent)}

    def update(self, sae: "SAE", codes: SparseCodes) -> None:
        """Track the batch's cut and densities."""
        super().update(sae, codes)
        zipf.track(sae.tensor("density"), codes, sae.ranks)
