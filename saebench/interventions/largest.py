"""Some features among each token's k largest, with as little of the encoder as will do.

Decisions: that a feature is not among the k largest is seen from any k latents that are larger. Latents that were among
the largest of the tokens before tend to be so again, so where text is generated, one token at a time, they are
multiplied first, and all latents only where a wanted feature comes up to the k-th of them. The answer is exact either
way. For a few tokens a product and a selection by torch are faster than the kernels that make codes.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.saes import SAE

RECENT = 16
"""How many times k latents are remembered."""
MARGIN = 1e-4
"""What products of different shapes may differ by, as a share of the larger; the nearer call is left to the whole."""


class Largest:
    """Rows of normalised activations of a model → activations of `features`, 0 where not among the `k` largest.

    Beside the SAE's W_enc it holds a copy by columns, which a CPU multiplies with a vector in two thirds of the time.
    """

    def __init__(self, sae: SAE, features: Int[Tensor, " some"], k: int) -> None:
        self.features, self.k = features, k
        self.W, self.b, self.centre = (each.detach().float() for each in (sae.W_enc, sae.b_enc, sae.b_dec))
        self.columns = self.W.T.contiguous()
        self.own = self.W[features], self.b[features]
        n_recent = min(RECENT * k, len(self.W))
        self.recent = self.W.new_empty(self.W.shape[1], n_recent), self.b.new_empty(n_recent)
        self.cut = math.inf
        self.places: dict[int, int] = {}
        """Of the latents in `recent`, the one that was longest not among the largest first."""

    def __call__(self, x: Float[Tensor, "rows d_in"]) -> Float[Tensor, "rows some"]:
        """The activations, in float32."""
        x = x - self.centre
        if len(x) == 1 and self._surely_none(x[0]):
            return x.new_zeros(1, len(self.features))
        # one token is a product with a vector: a third faster than with a matrix of one row
        pre = torch.addmv(self.b, self.columns.T, x[0])[None] if len(x) == 1 else torch.addmm(self.b, x, self.columns)
        largest = pre.topk(self.k, dim=1, sorted=True)
        cut = largest.values[:, -1:].clamp_min(torch.finfo(pre.dtype).tiny)
        self.cut = float(cut[-1])
        own = pre.index_select(1, self.features)
        own = own.where(own >= cut, 0.0)
        if not bool(own.any()):  # else a better bound would not have helped
            self._remember(largest.indices)
        return own

    def _surely_none(self, x: Float[Tensor, " d_in"]) -> bool:
        n = len(self.places)
        if n < self.k:
            return False
        (W, b), (W_recent, b_recent) = self.own, self.recent
        strongest = float(torch.addmv(b, W, x).max())
        if strongest > self.cut:  # it would have been among the largest of the token before: no need to try
            return False
        bound = float(torch.addmv(b_recent[:n], W_recent[:, :n].T, x).topk(self.k, sorted=True).values[-1])
        return strongest < bound - MARGIN * abs(bound)

    def _remember(self, latents: Int[Tensor, "rows k"]) -> None:
        W, b = self.recent
        arrived: dict[int, int] = {}
        for latent in latents.flatten().tolist():
            place = self.places.pop(latent, None)
            if place is None:
                place = len(self.places) if len(self.places) < len(b) else self.places.pop(next(iter(self.places)))
                arrived[place] = latent
            self.places[latent] = place
        if arrived:
            at, rows = (torch.tensor(list(each), device=W.device) for each in (arrived.keys(), arrived.values()))
            W[:, at], b[at] = self.W[rows].T, self.b[rows]
