"""Trees of features: a child fires only with its parent, and of siblings that exclude each other at most one.

Decisions, after SynthSAEBench: the trees take the first (most frequent) features, level by level: roots first, then all
their children, … Gating goes downward, and siblings exclude each other before their own children are gated. Of several
excluding siblings that would fire, a random one does. Where children are scaled by their parent, a child's magnitude is
multiplied by its parent's magnitude over the parent's mean.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Forest:
    """`roots` complete trees: each node above level `depth` has `branching` children; depth 0 is roots alone."""

    roots: int = 128
    branching: int = 4
    depth: int = 3

    def levels(self) -> list[tuple[int, int]]:
        """First feature of each level, and the one after its last."""
        bounds, start, width = [], 0, self.roots
        for _ in range(self.depth + 1):
            bounds.append((start, start + width))
            start, width = start + width, width * self.branching
        return bounds

    def generations(self) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        """Bounds of every level that has children, with those of the level of its children, from the roots down."""
        return list(pairwise(self.levels())) if self.roots else []

    @property
    def size(self) -> int:
        """Number of features in the trees."""
        return self.levels()[-1][1]

    def parents(self, n: int) -> Int[Tensor, " n"]:
        """Parent of each of n features, −1 for roots and for features outside the trees."""
        parent = torch.full((n,), -1)
        for (above, below_above), (start, stop) in self.generations():
            parent[start:stop] = torch.arange(above, below_above).repeat_interleave(self.branching)
        return parent


def excluding_parents(forest: Forest, share: float, generator: torch.Generator) -> Bool[Tensor, " parents"]:
    """A random `share` of the nodes that have children: theirs exclude each other."""
    count = forest.levels()[-1][0]
    chosen = torch.zeros(count, dtype=torch.bool)
    chosen[torch.randperm(count, generator=generator)[: int(count * share)]] = True
    return chosen


def compensated(
    probabilities: Float[Tensor, " n"], forest: Forest, excluding: Bool[Tensor, " parents"]
) -> Float[Tensor, " n"]:
    """Probabilities to draw with so that, gated, features fire about as often as `probabilities` say.

    A child's is divided by its parent's, and multiplied by 1 + (its excluding siblings' expected number given the
    parent); what comes out above 1 becomes 1, and such a child fires less often than asked (SynthSAEBench's rule).
    """
    drawn = probabilities.double().clone()
    for (above, below_above), (start, stop) in forest.generations():
        given_parent = probabilities[start:stop].double().view(-1, forest.branching)
        given_parent = given_parent / probabilities[above:below_above, None]
        others = given_parent.sum(1, keepdim=True) - given_parent
        drawn[start:stop] = (given_parent * (1 + others * excluding[above:below_above, None])).view(-1)
    return drawn.clamp_(max=1).float()


def gate(
    fires: Bool[Tensor, "rows n"], forest: Forest, excluding: Bool[Tensor, " parents"], generator: torch.Generator
) -> Bool[Tensor, "rows n"]:
    """Which features fire once the trees are obeyed; changes `fires` itself."""
    for (above, below_above), (start, stop) in forest.generations():
        children = fires[:, start:stop].view(len(fires), -1, forest.branching)
        children &= fires[:, above:below_above, None]
        crowded = (children.sum(2, dtype=torch.int32) > 1) & excluding[above:below_above]
        at = crowded.nonzero(as_tuple=True)
        lots = torch.rand(len(at[0]), forest.branching, generator=generator)
        winner = lots.masked_fill_(~children[at], -1).argmax(1)
        children[at] = torch.nn.functional.one_hot(winner, forest.branching).bool()
        fires[:, start:stop] = children.view(len(fires), -1)
    return fires


def scale_by_parents(
    values: Float[Tensor, " nnz"],
    rows: Int[Tensor, " nnz"],
    features: Int[Tensor, " nnz"],
    means: Float[Tensor, " n"],
    forest: Forest,
) -> Float[Tensor, " nnz"]:
    """Magnitudes times their parents' over the parents' means, from the roots down.

    Entries come sorted by (row, feature), each with its parent's, as `gate` leaves them.
    """
    n = len(means)
    parents = forest.parents(n)[features]
    keys = rows * n + features
    values = values.clone()
    for _, (start, stop) in forest.generations():
        at = ((features >= start) & (features < stop)).nonzero().squeeze(1)
        above = torch.searchsorted(keys, rows[at] * n + parents[at])
        values[at] *= values[above] / means[parents[at]]
    return values
