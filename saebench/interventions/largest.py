"""Some features among each token's k largest, with as little of the encoder as will do.

Decisions: that a feature is not among the k largest is seen from any k latents that are larger. Latents that were among
the largest of the tokens before tend to be so again, so where text is generated, one token at a time, they are
multiplied first, and all latents only where a wanted feature comes up to the k-th of them. The answer is exact either
way. For a few tokens a product and a selection by torch are faster than the kernels that make codes.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.saes import SAE

RECENT = 16
"""How many times k latents are remembered."""
MARGIN = 1e-4
"""What products of different shapes may differ by, as a share of the larger; the nearer call is left to the whole."""


class Largest:
    """Rows of normalised activations of a model → activations of `features`, 0 where not among the `k` largest."""

    def __init__(self, sae: SAE, features: Int[Tensor, " some"], k: int) -> None:
        self.features, self.k = features, k
        self.W, self.b, self.centre = (each.detach().float() for each in (sae.W_enc, sae.b_enc, sae.b_dec))
        self.own = self.W[features], self.b[features]
        self.remembered: list[int] = []
        self.recent = self.own

    def __call__(self, x: Float[Tensor, "rows d_in"]) -> Float[Tensor, "rows some"]:
        """The activations, in float32."""
        x = x - self.centre
        if len(x) == 1 and self._surely_none(x[0]):
            return x.new_zeros(1, len(self.features))
        # one token is a product with a vector: a third faster than with a matrix of one row
        pre = torch.addmv(self.b, self.W, x[0])[None] if len(x) == 1 else torch.addmm(self.b, x, self.W.T)
        largest = pre.topk(self.k, dim=1, sorted=True)
        self._remember(largest.indices)
        cut = largest.values[:, -1:].clamp_min(torch.finfo(pre.dtype).tiny)
        own = pre.index_select(1, self.features)
        return own.where(own >= cut, 0.0)

    def _surely_none(self, x: Float[Tensor, " d_in"]) -> bool:
        if len(self.remembered) < self.k:
            return False
        (W, b), (W_recent, b_recent) = self.own, self.recent
        strongest = torch.addmv(b, W, x).max()
        bound = torch.addmv(b_recent, W_recent, x).topk(self.k, sorted=True).values[-1]
        return bool(strongest < bound - MARGIN * bound.abs())

    def _remember(self, latents: Int[Tensor, "rows k"]) -> None:
        newest_first = latents.flip(0).flatten().tolist() + self.remembered
        self.remembered = list(dict.fromkeys(newest_first))[: RECENT * self.k]
        rows = torch.tensor(self.remembered, device=self.W.device)
        self.recent = self.W[rows], self.b[rows]
