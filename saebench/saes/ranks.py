"""Several processes that train one SAE: what rules ask of them, and what one process answers by itself.

There are two axes. Along `tokens` each process has a part of every batch and all latents; along `latents` each has all
tokens of the batch and some of the latents: process r of n owns the latents r, r + n, r + 2n, … and calls them 0, 1, 2,
…; taken in turn, so that a rule that orders its latents gives every process as much to do. In one process both axes
have size 1 and everything here returns what it was given.

Decisions:
- What is minimised is the sum, over the token axis, of what each process calls backward on: its loss times its share of
  the batch's tokens. Along the latent axis all compute the same loss. So a number that is combined over processes takes
  the combined value and passes its gradient on unchanged (`mean`, `added`), and no collective runs in a backward pass.
- Replicated parameters that act on a process's own latents (b_dec as the encoder's centre) get a part of their gradient
  there; where they act on what all have in common (b_dec in the reconstruction) the first process alone counts it.
  The gradients of replicated parameters are then summed over everyone.
- Plain collectives, not DTensor: what travels is counts, sparse entries' cuts and one dense reconstruction, none of
  which DTensor can describe (ragged codes, a selection over the batch).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saebench.kernels import PerBatch, PerLatent, PerToken, Selection, SparseCodes
from saebench.saes import losses
from saebench.saes.axis import UNDIVIDED, Axis
from saebench.saes.cut import largest

SLACK = 1.25
"""How many times its expected share of a batch's largest entries a process proposes at first."""


@dataclass(frozen=True)
class Ranks:
    """The processes along each axis, and all of them together."""

    tokens: Axis = UNDIVIDED
    latents: Axis = UNDIVIDED
    everyone: Axis = UNDIVIDED

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.everyone.rank == 0

    def share(self, x: Float[Tensor, "tokens d_in"]) -> Float[Tensor, "share d_in"]:
        """This process's part of a batch that all have."""
        return x if self.tokens.size == 1 else x.tensor_split(self.tokens.size)[self.tokens.rank]

    def count(self, tokens: int) -> int:
        """Number of tokens of the whole batch, of which this process has so many."""
        return tokens if self.tokens.size == 1 else int(self.tokens.sum(torch.tensor(tokens)))

    def every(self, step: int, tokens: int) -> tuple[slice, float]:
        """Which of this process's tokens are among every step-th of the batch, and what corrects for their number.

        A mean over those times the correction may stand for a mean over all of this process's tokens.
        """
        if self.tokens.size == 1:
            return slice(None, None, step), 1.0
        counts = [int(count) for count in self.tokens.gather(torch.tensor(tokens))]
        before = sum(counts[: self.tokens.rank])
        own = slice(-before % step, None, step)
        share = len(range(tokens)[own]) * sum(counts) / max(tokens * -(-sum(counts) // step), 1)
        return own, share

    def mean(self, value: Float[Tensor, ""], tokens: int) -> Float[Tensor, ""]:
        """Mean over the batch's tokens of a sum over latents, of which `value` is this process's: its tokens' mean."""
        if self.everyone.size == 1:
            return value
        detached = value.detach().double()
        sums = self.everyone.sum(torch.stack([detached * tokens, torch.full_like(detached, tokens)]))
        combined = sums[0] * self.latents.size / sums[1].clamp_min(1)
        return _Combined.apply(value, combined.to(value.dtype))

    def variance(self, x: Float[Tensor, "tokens d_in"]) -> Float[Tensor, ""]:
        """`losses.variance` of the whole batch, of which this process has x; without gradient."""
        if self.tokens.size == 1:
            return losses.variance(x)
        x = x.detach()
        n, mean = len(x), x.sum(0).double() / max(len(x), 1)
        squares = losses.variance(x).double() * n + n * mean.square().sum()
        sums = self.tokens.sum(torch.cat([squares.new_tensor([n]), squares[None], n * mean]))
        total = sums[0].clamp_min(1)
        return (sums[1] / total - (sums[2:] / total).square().sum()).clamp_min(0).to(x.dtype)

    def any(self, marked: Bool[Tensor, " n_latents"]) -> bool:
        """Whether any latent of any process is marked."""
        return self.latents.any(marked)

    def whole(self, own: Tensor) -> Tensor:
        """The rows of all latents, of which this process has its own."""
        return own if self.latents.size == 1 else torch.stack(self.latents.gather(own), 1).flatten(0, 1)

    def collected(self, own: Tensor) -> Tensor | None:
        """As `whole`, on the first process only; None on the others."""
        found = self.latents.collect(own)
        return None if found is None else torch.stack(found, 1).flatten(0, 1)

    def own(self, whole: Tensor) -> Tensor:
        """The rows of this process's latents, of all."""
        return whole if self.latents.size == 1 else whole[self.latents.rank :: self.latents.size].contiguous()

    def number(self, latents: Int[Tensor, " nnz"]) -> Int[Tensor, " nnz"]:
        """The latents' numbers among those of all processes."""
        return latents * self.latents.size + self.latents.rank

    def added(self, partial: Tensor) -> Tensor:
        """The sum over the latents' processes of something that all of them go on with."""
        return partial if self.latents.size == 1 else _Combined.apply(partial, self.latents.sum(partial))

    def counted_once(self, tensor: Tensor) -> Tensor:
        """The tensor on the first of the latents' processes, zeros on the others: to be `added`."""
        return tensor if self.latents.rank == 0 else torch.zeros_like(tensor)

    def top(self, codes: SparseCodes, k: int) -> SparseCodes:
        """The k largest entries of each token, over all latents."""
        if self.latents.size == 1:
            return codes.top(k)
        budgets = torch.full((len(codes),), k, device=codes.values.device)
        return codes.where(largest(codes.values, codes.tokens, budgets, self.latents)[0])

    def select(self, selection: Selection, tokens: int, propose: Callable[[Selection], SparseCodes]) -> SparseCodes:
        """This process's entries of a selection over all processes; `propose` selects among its own alone."""
        match selection:
            case PerToken(k) if self.latents.size > 1:
                return self.top(propose(selection), k)
            case PerBatch(k, expected) if self.everyone.size > 1:
                return self._per_batch(k, expected, tokens, propose)
            case PerLatent(budgets) if self.tokens.size > 1:
                return self._per_latent(budgets, propose)
            case _:
                return propose(selection)

    def _per_batch(
        self, k: int, expected: float | None, tokens: int, propose: Callable[[Selection], SparseCodes]
    ) -> SparseCodes:
        """Propose a little more than the share; a process that turns out to hold more proposes all it may need."""
        wanted = k * self.count(tokens)
        each = int(k / self.latents.size * SLACK) + 1
        codes = propose(PerBatch(each, expected))
        keep, cut = self._largest_of_batch(codes, wanted)
        more = codes.values.new_tensor(bool(tokens) and len(codes.values) >= each * tokens).bool()
        more = more & (codes.values.detach() > cut).all()
        if self.everyone.any(more):
            if bool(more):
                codes = propose(PerBatch(-(-wanted // tokens), expected))
            keep, _ = self._largest_of_batch(codes, wanted)
        return codes.where(keep)

    def _largest_of_batch(self, codes: SparseCodes, wanted: int) -> tuple[Bool[Tensor, " nnz"], Float[Tensor, " 1"]]:
        budget = torch.tensor([wanted], device=codes.values.device)
        return largest(codes.values, torch.zeros_like(codes.latents), budget, self.everyone)

    def _per_latent(
        self, budgets: Int[Tensor, " n_latents"], propose: Callable[[Selection], SparseCodes]
    ) -> SparseCodes:
        """Propose about twice the share of each latent; where that was too little for one, the whole budgets."""
        some = torch.minimum(budgets, 2 * (budgets // self.tokens.size) + 4)
        codes = propose(PerLatent(some))
        keep, cut = largest(codes.values, codes.latents, budgets, self.tokens)
        found = codes.pattern.by_latent.offsets.diff()
        above = torch.bincount(codes.latents[codes.values.detach() > cut[codes.latents.long()]], minlength=len(found))
        more = (some < budgets) & (found >= some) & (above == found)
        if self.tokens.any(more):
            if bool(more.any()):
                codes = propose(PerLatent(budgets))
            keep, _ = largest(codes.values, codes.latents, budgets, self.tokens)
        return codes.where(keep)


ALONE = Ranks()


class _Combined(torch.autograd.Function):
    """A value that other processes had a part in; the gradient goes to this one's part as it is."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, combined: Tensor) -> Tensor:
        del ctx, own
        return combined.view_as(combined)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        del ctx
        return grad, None
