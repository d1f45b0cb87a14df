"""Zipf's law as a budget: how often each latent ought to fire, and an auxiliary loss for those that do not.

This is our reconstruction. Ayonrinde ("Adaptive sparse allocation with Mutual Choice & Feature Choice SAEs", 2024)
states that feature densities follow a Zipf law, that this law sets Feature Choice's budgets, and that aux_zipf_loss
generalises AuxK to underutilised features; no formula or code of it could be found. Here:
- latent i, of rank r_i by its running density, has the target density k · r_i^−s / Σ_j j^−s;
- budgets over a batch of n tokens are n times that, at least 1 and at most n, summing to k · n;
- aux_zipf is AuxK among all latents whose density is below target, each weighted by its shortfall 1 − density / target.
  There are always many of those, so unlike AuxK it never rests; it is estimated on every eighth token of a batch, which
  keeps its cost below that of the step it belongs to.
"""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.kernels import SparseCodes
from saebench.saes.budget import among, firing_counts, residual_fvu
from saebench.saes.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from saebench.saes.sae import SAE

RATE = 0.01
EVERY = 8


def shares(density: Float[Tensor, " n_latents"], exponent: float) -> Float[Tensor, " n_latents"]:
    """Zipf shares (summing to 1) by rank of density; ties by latent number."""
    rank = torch.empty_like(density)
    positions = torch.arange(1, len(density) + 1, device=density.device, dtype=density.dtype)
    rank[torch.sort(density, descending=True, stable=True).indices] = positions
    law = rank.pow(-exponent)
    return law / law.sum()


def targets(density: Float[Tensor, " n_latents"], k: int, exponent: float) -> Float[Tensor, " n_latents"]:
    """The density that each latent ought to have: Zipf's, capped at every token, summing to k."""
    return capped(shares(density, exponent), float(k), 1.0)


def budgets(density: Float[Tensor, " n_latents"], k: int, tokens: int, exponent: float) -> Int[Tensor, " n_latents"]:
    """Tokens of a batch that each latent may take: whole numbers that sum to k × tokens.

    Each is at most `tokens`, and at least 1 where there are that many to give; what rounding leaves goes to the
    largest fractions.
    """
    total = k * tokens
    least = 1 if total >= len(density) else 0
    wanted = least + capped(shares(density, exponent), float(total - least * len(density)), float(tokens - least))
    whole = wanted.floor().clamp(max=tokens)
    missing = int(total - whole.sum())
    fraction = torch.where(whole < tokens, wanted - whole, -1.0)
    whole[torch.sort(fraction, descending=True, stable=True).indices[:missing]] += 1
    return whole.long()


def capped(shares: Float[Tensor, " n"], total: float, cap: float) -> Float[Tensor, " n"]:
    """`total` divided by shares, none above the cap: what the capped ones leave goes to the others by their shares."""
    given = torch.zeros_like(shares, dtype=torch.float64)
    left = shares.double()
    for _ in range(len(shares)):
        room = total - cap * int((given == cap).sum())
        proposed = torch.where(given == cap, cap, left * (room / left.sum().clamp_min(1e-300)))
        over = (proposed > cap) & (given != cap)
        if not bool(over.any()):
            return proposed
        given[over], left[over] = cap, 0.0
    return given


@torch.no_grad()
def track(density: Float[Tensor, " n_latents"], codes: SparseCodes, ranks: Ranks = ALONE) -> None:
    """Move running densities towards a batch's, in place; before the first batch they are NaN."""
    if tokens := ranks.count(len(codes)):
        now = ranks.tokens.sum(firing_counts(codes)) / tokens
        density.copy_(torch.where(density.isnan(), now, density.lerp(now.to(density.dtype), RATE)))


def aux_zipf(
    sae: "SAE",
    x: Float[Tensor, "tokens d_in"],
    reconstruction: Float[Tensor, "tokens d_in"],
    k: int,
    k_aux: int | None,
    exponent: float,
) -> Float[Tensor, ""]:
    """FVU of predicting the residual by the latents below their Zipf target, weighted by shortfall; 0 without any."""
    density = sae.tensor("density")
    if bool(density.isnan().any()):
        return x.new_zeros(())
    target = sae.ranks.own(targets(sae.ranks.whole(density), k, exponent))
    shortfall = (1 - density / target).clamp(min=0)
    under = shortfall > 0
    if not sae.ranks.any(under):
        return x.new_zeros(())
    some, share = sae.ranks.every(EVERY, len(x))
    x, reconstruction = x[some], reconstruction[some]
    codes = among(sae, x, under, k_aux)
    weighted = codes.with_values(codes.values * shortfall[codes.latents.long()].to(codes.values.dtype))
    return share * residual_fvu(sae, x, reconstruction, weighted)
