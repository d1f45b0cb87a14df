"""Matryoshka BatchTopK (Bussmann, Nabeshima, Karvonen & Nanda 2025): nested prefixes of the latents.

Decisions: the prefixes' reconstructions come from one decode: the entries of a token are split by the group between
two prefixes that they fall into, each (token, group) is a row, and the rows are summed up group by group. So each entry
is decoded once and the decoder's gradient is made once, however many prefixes there are. The losses are averaged with
equal weights, once (the public code divides twice).
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from saebench.kernels.codes import SparseCodes, from_entries
from saebench.saes.batchtopk import BatchTopK
from saebench.saes.losses import Loss, fvu
from saebench.saes.rule import Training, setting

if TYPE_CHECKING:
    from saebench.saes.sae import SAE


@dataclass(frozen=True)
class Matryoshka(BatchTopK):
    """BatchTopK whose first latents must reconstruct the input on their own, too."""

    name: ClassVar[str] = "matryoshka"

    prefixes: tuple[float, ...] = setting(
        (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0), "nested prefixes as shares of the latents, rising to 1"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "prefixes", tuple(self.prefixes))  # JSON and YAML bring lists
        rising = all(a < b for a, b in pairwise((0.0, *self.prefixes)))
        if not self.prefixes or not rising or self.prefixes[-1] != 1:
            raise ValueError(f"Matryoshka: prefixes must rise from above 0 to 1, got {list(self.prefixes)}")

    def loss(self, sae: "SAE", x: Float[Tensor, "tokens d_in"], training: Training) -> Loss:
        """The mean FVU of the prefixes, and AuxK on the residual of all latents."""
        codes = self.encode(sae, x)
        nested = self.reconstructions(sae, codes).to(x.dtype)
        errors = torch.stack([fvu(prediction, x, training.variance) for prediction in nested.unbind(1)])
        reconstruction = nested[:, -1]
        parts = {"nested_fvu": errors.mean()} | self.auxiliary(sae, x, reconstruction, training)
        return Loss(parts, errors[-1].detach(), codes.detach(), reconstruction)

    def reconstructions(self, sae: "SAE", codes: SparseCodes) -> Float[Tensor, "tokens prefixes d_in"]:
        """What each prefix of the latents reconstructs."""
        n_latents = sae.n_latents * sae.ranks.latents.size
        sizes = [max(1, round(share * n_latents)) for share in self.prefixes]
        n = len(sizes)
        numbers = sae.ranks.number(codes.latents)
        group = torch.bucketize(numbers, torch.tensor(sizes, device=codes.latents.device), right=True)
        split = from_entries(codes.values, codes.tokens * n + group, codes.latents, (len(codes) * n, sae.n_latents))
        rows = sae.decode(split, b_dec=torch.zeros_like(sae.b_dec))
        bias = sae.ranks.added(sae.ranks.counted_once(sae.b_dec))
        return rows.view(len(codes), n, sae.d_in).cumsum(1) + bias
