"""What a kernel is asked to select. Rules of `saebench.saes` translate themselves into one of these.

Decisions: the kernels know a few ways to select, not the rules: BatchTopK or JumpReLU add `PerBatch` or `Above` here
and a branch in each backend, however many rules then share them.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class PerToken:
    """The k largest pre-activations of each token, of those above zero (Makhzani & Frey 2013; Gao et al. 2024)."""

    k: int

    @property
    def selection(self) -> "PerToken":
        """Itself: a selection is the smallest rule."""
        return self


class Rule(Protocol):
    """Whatever says which entries to select."""

    @property
    def selection(self) -> PerToken:
        """The selection that the kernels carry out."""
        ...
