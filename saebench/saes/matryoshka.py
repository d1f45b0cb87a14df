"""Matryoshka BatchTopK (Bussmann, Nabeshima, Karvonen & Nanda 2025): nested prefixes of the latents.

Decisions: the prefixes' reconstructions come from one decode: the entries of a token are split by the group between
two prefixes that they fall into, each (token, group) is a row, and the rows are summed up group by group. So each entry
is decoded once and the decoder's gradient is made once, however many prefixes there are; the errors of all prefixes are
kept in one tensor, which becomes their gradient. The losses are averaged with equal weights, once (the public code
divides twice).
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from saebench.kernels.codes import SparseCodes, from_entries
from saebench.saes.batchtopk import BatchTopK
from saebench.saes.losses import Loss, or_one
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
        bias = sae.ranks.added(sae.ranks.counted_once(sae.b_dec))
        squares, error = _Nested.apply(self.parts(sae, codes), bias, x)
        errors = squares / max(len(x), 1) / or_one(training.variance)
        reconstruction = x + error
        parts = {"nested_fvu": errors.mean()} | self.auxiliary(sae, x, reconstruction, training)
        return Loss(parts, errors[-1].detach(), codes.detach(), reconstruction)

    def parts(self, sae: "SAE", codes: SparseCodes) -> Float[Tensor, "tokens groups d_in"]:
        """What each group of latents between two prefixes adds to the reconstruction."""
        n_latents = sae.n_latents * sae.ranks.latents.size
        sizes = [max(1, round(share * n_latents)) for share in self.prefixes]
        n = len(sizes)
        numbers = sae.ranks.number(codes.latents)
        group = torch.bucketize(numbers, torch.tensor(sizes, device=codes.latents.device), right=True)
        split = from_entries(codes.values, codes.tokens * n + group, codes.latents, (len(codes) * n, sae.n_latents))
        return sae.decode(split, b_dec=torch.zeros_like(sae.b_dec)).view(len(codes), n, sae.d_in)


class _Nested(torch.autograd.Function):
    """Σ‖e_g‖² for each prefix g, and the last error: e_g = bias + the sum of the parts up to g − x."""

    @staticmethod
    def forward(ctx: Any, parts: Tensor, bias: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        ctx.dtypes = parts.dtype, bias.dtype
        ctx.errors = errors = parts.detach().to(x.dtype)  # in their place: nobody else needs the parts
        errors[:, 0].add_(bias.to(x.dtype)).sub_(x)
        for group in range(1, errors.shape[1]):
            errors[:, group] += errors[:, group - 1]
        last = errors[:, -1].clone()
        ctx.mark_non_differentiable(last)
        return torch.linalg.vector_norm(errors, dim=(0, 2)).square(), last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None]:
        """A part is in the error of its own prefix and of all longer ones."""
        gradient = ctx.errors.mul_(2 * grad[:, None])
        for group in reversed(range(gradient.shape[1] - 1)):
            gradient[:, group] += gradient[:, group + 1]
        return gradient.to(ctx.dtypes[0]), gradient[:, 0].sum(0).to(ctx.dtypes[1]), None
