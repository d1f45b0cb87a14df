"""What a kernel is asked to select. Rules of `saebench.saes` translate themselves into one of these.

Decisions: the kernels know four ways to select, not the rules: however many rules share them. A selection is plain
data; where it holds tensors they are per latent. Ties are broken arbitrarily but deterministically.
"""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class PerToken:
    """The k largest pre-activations of each token, of those above zero (Makhzani & Frey 2013; Gao et al. 2024)."""

    k: int


@dataclass(frozen=True)
class PerBatch:
    """The k × tokens largest pre-activations of the whole batch, of those above zero (Bussmann et al. 2024)."""

    k: int
    expected: float | None = None
    """About where the cut will lie, if known: saves work, never changes the result."""


@dataclass(frozen=True, eq=False)
class PerLatent:
    """The budgets[i] largest pre-activations of latent i over the batch's tokens, of those above zero."""

    budgets: Int[Tensor, " n_latents"]


@dataclass(frozen=True, eq=False)
class Above:
    """Every pre-activation above its latent's threshold, also where both are negative."""

    thresholds: Float[Tensor, " n_latents"]


Selection = PerToken | PerBatch | PerLatent | Above
