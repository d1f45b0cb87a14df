"""Feature Choice (Ayonrinde 2024): each latent chooses its tokens. A reconstruction, see `zipf`.

Latent i takes its m_i largest tokens of a batch, m_i by Zipf's law over the ranks of the running densities. Training
begins with Mutual Choice, as the paper's schedule does, and finishes with Feature Choice. A latent serves by a
threshold of its own: its smallest selected value, averaged over batches.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from saebench.kernels import Above, PerLatent, SparseCodes
from saebench.saes import zipf
from saebench.saes.budget import per_latent_minimum
from saebench.saes.mutual_choice import MutualChoice
from saebench.saes.rule import setting
from saebench.saes.threshold import LATENT_RATE, above, average

if TYPE_CHECKING:
    from saebench.saes.sae import SAE


@dataclass(frozen=True)
class FeatureChoice(MutualChoice):
    """Each latent's largest tokens of the batch, by a Zipf budget, after a phase of Mutual Choice."""

    name: ClassVar[str] = "feature_choice"

    mutual_tokens: int = setting(10_000_000, "tokens of Mutual Choice before Feature Choice begins", ge=0, of_run=0.8)

    def buffers(self, d_in: int, n_latents: int) -> dict[str, Tensor]:
        """Beside Mutual Choice's: `thresholds`, each latent's own, and `tokens_seen`, which ends the first phase."""
        return super().buffers(d_in, n_latents) | {
            "thresholds": torch.full((n_latents,), torch.nan),
            "tokens_seen": torch.zeros((), dtype=torch.int64),
        }

    def rescale(self, sae: "SAE", factor: float) -> None:
        """All thresholds are pre-activations."""
        super().rescale(sae, factor)
        sae.tensor("thresholds").mul_(factor)

    def chooses(self, sae: "SAE") -> bool:
        """Whether the second phase, Feature Choice, has begun: enough tokens seen, and densities to set budgets by."""
        return int(sae.tensor("tokens_seen")) >= self.mutual_tokens and not bool(sae.tensor("density").isnan().any())

    def encode(self, sae: "SAE", x: Float[Tensor, "tokens d_in"]) -> SparseCodes:
        """Budgets in training, thresholds after; a latent that has never fired has none and stays silent."""
        if not self.chooses(sae):
            return super().encode(sae, x)
        if sae.training:
            tokens, density = sae.ranks.count(len(x)), sae.ranks.whole(sae.tensor("density"))
            return sae.select(x, PerLatent(sae.ranks.own(zipf.budgets(density, self.k, tokens, self.exponent))))
        return sae.select(x, self.serving(sae))

    def serving(self, sae: "SAE") -> Above:
        """Above the common threshold, or each latent's own once there are such."""
        if not self.chooses(sae):
            return super().serving(sae)
        return above(sae, sae.tensor("thresholds").nan_to_num(nan=torch.inf))

    def update(self, sae: "SAE", codes: SparseCodes) -> None:
        """Track densities always, the common threshold in the first phase, each latent's own in the second."""
        if not self.chooses(sae):
            super().update(sae, codes)
        else:
            zipf.track(sae.tensor("density"), codes, sae.ranks)
            own, now = sae.tensor("thresholds"), sae.ranks.tokens.min(per_latent_minimum(codes))
            own.copy_(torch.where(now.isfinite(), average(own, now, LATENT_RATE), own))
        sae.tensor("tokens_seen").add_(sae.ranks.count(len(codes)))
