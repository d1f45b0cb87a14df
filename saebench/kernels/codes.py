"""SparseCodes: the sparse latents of a batch of tokens, the one structure that kernels, SAEs and indexes exchange.

Decisions: compressed rows over tokens (TopK is the case of equal offsets, others are ragged); what an SAE returns holds
only entries above zero, so a latent listed there has fired (`Above` may select pre-activations below it for a rule to
work on); the order of the entries inside a token is unspecified but deterministic. The same entries sorted by latent
serve every gradient, so the sort is made once, on demand, and shared.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saebench.kernels import native


class ByLatent(NamedTuple):
    """The entries of a `Pattern` sorted by latent (stable, so by token inside a latent)."""

    order: Int[Tensor, " nnz"]
    """Position of each sorted entry in the token order."""
    tokens: Int[Tensor, " nnz"]
    """Token of each sorted entry (int32)."""
    offsets: Int[Tensor, " n_latents+1"]
    """Latent i owns the sorted entries offsets[i]:offsets[i+1] (int32)."""


@dataclass(frozen=True, eq=False)
class Pattern:
    """Where the entries are, without their values: shared by codes that differ in values only."""

    latents: Int[Tensor, " nnz"]
    offsets: Int[Tensor, " tokens+1"]
    n_latents: int

    @cached_property
    def tokens(self) -> Int[Tensor, " nnz"]:
        """Token of each entry (int32)."""
        n = len(self.offsets) - 1
        return torch.arange(n, dtype=torch.int32, device=self.latents.device).repeat_interleave(
            self.offsets.diff(), output_size=len(self.latents)
        )

    @cached_property
    def by_latent(self) -> ByLatent:
        """The entries sorted by latent: compressed columns instead of rows. Compiled and by torch the same."""
        if self.latents.device.type == "cpu" and self.latents.dtype == torch.int32 and native.available():
            return self._sorted_natively()
        order = torch.sort(self.latents, stable=True).indices
        counts = torch.bincount(self.latents, minlength=self.n_latents)
        offsets = torch.zeros(self.n_latents + 1, dtype=torch.int32, device=self.latents.device)
        torch.cumsum(counts, 0, out=offsets[1:])
        return ByLatent(order, self.tokens[order], offsets)

    def _sorted_natively(self) -> ByLatent:
        latents, starts = self.latents.contiguous(), self.offsets.long().contiguous()
        order, tokens = torch.empty(len(latents), dtype=torch.int64), torch.empty_like(latents)
        offsets = torch.empty(self.n_latents + 1, dtype=torch.int32)
        sizes, to = (len(starts) - 1, self.n_latents), map(native.pointer, (order, tokens, offsets))
        if not native.library().sort_by_column(native.pointer(starts), native.pointer(latents), *sizes, *to):
            raise MemoryError("no memory left to sort the codes by latent")
        return ByLatent(order, tokens, offsets)


@dataclass(frozen=True, eq=False)
class SparseCodes:
    """Active latents of `len(self)` tokens: token t owns the entries offsets[t]:offsets[t+1].

    Raises ValueError where the tensors do not fit each other.
    """

    values: Float[Tensor, " nnz"]
    """Activations; differentiable when they come from `encode`."""
    latents: Int[Tensor, " nnz"]
    """Latent of each entry (int32)."""
    offsets: Int[Tensor, " tokens+1"]
    """First entry of each token, and the end of the last (int64)."""
    n_latents: int
    pattern: Pattern = field(default=None, repr=False)  # type: ignore[assignment]
    """Cached views of the entries; made here unless shared by `with_values`."""

    def __post_init__(self) -> None:
        if self.values.shape != self.latents.shape or self.values.ndim != 1 or self.offsets.ndim != 1:
            raise ValueError(
                f"SparseCodes: values {tuple(self.values.shape)} and latents {tuple(self.latents.shape)} must be "
                f"vectors of one length, offsets {tuple(self.offsets.shape)} a vector"
            )
        if self.pattern is None:
            object.__setattr__(self, "pattern", Pattern(self.latents, self.offsets, self.n_latents))

    def __len__(self) -> int:
        """Number of tokens."""
        return len(self.offsets) - 1

    @property
    def tokens(self) -> Int[Tensor, " nnz"]:
        """Token of each entry (int32)."""
        return self.pattern.tokens

    @property
    def l0(self) -> float:
        """Mean number of active latents per token; 0 for no tokens."""
        return len(self.values) / max(len(self), 1)

    def with_values(self, values: Float[Tensor, " nnz"]) -> "SparseCodes":
        """The same entries with other values; the sorted view is shared."""
        return SparseCodes(values, self.latents, self.offsets, self.n_latents, self.pattern)

    def where(self, keep: Bool[Tensor, " nnz"]) -> "SparseCodes":
        """The entries marked in `keep`, differentiable in the values."""
        if bool(keep.all()):
            return self
        offsets = torch.zeros_like(self.offsets)
        kept_before = torch.zeros(len(keep) + 1, dtype=torch.int64, device=keep.device)
        torch.cumsum(keep, 0, out=kept_before[1:])
        offsets[1:] = kept_before[self.offsets[1:].long()]
        at = keep.nonzero().squeeze(1)
        return SparseCodes(self.values[at], self.latents[at], offsets, self.n_latents)

    def positive(self) -> "SparseCodes":
        """The entries above zero: those that fired."""
        return self.where(self.values.detach() > 0)

    def top(self, k: int) -> "SparseCodes":
        """The k largest entries of each token."""
        lengths = self.offsets.diff()
        width = int(lengths.max()) if len(lengths) else 0
        if width <= k:
            return self
        column = torch.arange(len(self.values), device=lengths.device) - self.offsets[:-1].repeat_interleave(lengths)
        rows = self.values.new_full((len(self), width), -torch.inf)
        rows[self.tokens.long(), column] = self.values.detach()
        places = torch.zeros_like(rows, dtype=torch.bool).scatter_(1, rows.topk(k, dim=1).indices, True)
        return self.where(places[self.tokens.long(), column])

    def detach(self) -> "SparseCodes":
        """The same codes, cut from the graph."""
        return self.with_values(self.values.detach())

    def to(self, device: torch.device | str) -> "SparseCodes":
        """The same codes on another device."""
        return SparseCodes(self.values.to(device), self.latents.to(device), self.offsets.to(device), self.n_latents)

    def to_dense(self) -> Float[Tensor, "tokens n_latents"]:
        """The dense matrix, differentiable: for tests and small work."""
        dense = self.values.new_zeros(len(self), self.n_latents)
        return dense.index_put((self.tokens.long(), self.latents.long()), self.values, accumulate=True)


def from_entries(
    values: Float[Tensor, " nnz"], tokens: Int[Tensor, " nnz"], latents: Int[Tensor, " nnz"], size: tuple[int, int]
) -> SparseCodes:
    """Codes of entries in any order, `size` = (tokens, latents); they come out sorted by token, stably."""
    order = torch.sort(tokens, stable=True).indices
    offsets = torch.zeros(size[0] + 1, dtype=torch.int64, device=values.device)
    torch.cumsum(torch.bincount(tokens, minlength=size[0]), 0, out=offsets[1:])
    return SparseCodes(values[order], latents[order].int(), offsets, size[1])


def positive_entries(
    values: Float[Tensor, "tokens k"], latents: Int[Tensor, "tokens k"], n_latents: int
) -> SparseCodes:
    """Codes of a fixed number of selected entries per token, those at or below zero left out."""
    positive = values > 0
    n, k = values.shape
    if positive.all():
        offsets = torch.arange(n + 1, device=values.device) * k
        return SparseCodes(values.reshape(-1), latents.reshape(-1).int(), offsets, n_latents)
    offsets = torch.zeros(n + 1, dtype=torch.int64, device=values.device)
    torch.cumsum(positive.sum(1), 0, out=offsets[1:])
    return SparseCodes(values[positive], latents[positive].int(), offsets, n_latents)
