"""Evolutionary Prompt Optimization (Thompson et al. 2024, algorithm 1): the search, whatever scores the prompts.

M prompts are kept, prompt i the best found under the loss −t + X_i · cross-entropy, X_i spread evenly in logarithm. In
each iteration every prompt has children, which differ from it in one token, drawn from those that lower the loss most
to first order (the gradient in the one-hot tokens); all children compete for all places. Now and then all places are
given to one prompt, the best under a penalty drawn at random, so that the population leaves what it is stuck in.

Decisions: a child never gets the token that it has already. Parents compete beside their children, so that no place
becomes worse but at a restart; what a restart drops is remembered, since the frontier is of everything seen.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol, Self, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.errors import UserError
from saebench.interventions.dreaming.config import DreamConfig


class Scores(NamedTuple):
    """What prompts are worth."""

    target: Float[Tensor, " prompts"]
    """What is maximised."""
    activation: Float[Tensor, " prompts"]
    """What the feature really is."""
    cross_entropy: Float[Tensor, " prompts"]
    """Nats per token."""

    @classmethod
    def joined(cls, parts: list[Self]) -> Self:
        """All in a row."""
        return cls(*(torch.cat(part) for part in zip(*parts, strict=True)))


class Births(NamedTuple):
    """Children: of which parent, and which token stands where."""

    member: Int[Tensor, " children"]
    position: Int[Tensor, " children"]
    token: Int[Tensor, " children"]

    def prompts(self, parents: Int[Tensor, "members n"]) -> Int[Tensor, "children n"]:
        """The children themselves."""
        out = parents[self.member].clone()
        out[torch.arange(len(out)), self.position] = self.token
        return out


class Graded(Protocol):
    """Prompts with their scores and gradients, and whatever else speeds up their children."""

    @property
    def scores(self) -> Scores:
        """What they are worth."""
        ...

    @property
    def gradient(self) -> Float[Tensor, "members n vocab"]:
        """Of each one's loss in its one-hot tokens."""
        ...


P = TypeVar("P", bound=Graded)


class Objective(Protocol[P]):
    """What scores prompts."""

    def graded(self, prompts: Int[Tensor, "members n"], penalties: Float[Tensor, " members"]) -> P:
        """Scores, and gradients of −t + penalty · cross-entropy in the one-hot tokens."""
        ...

    def children(self, parents: P, births: Births) -> Scores:
        """Scores of prompts that differ from others in one token."""
        ...


class Seen(NamedTuple):
    """Every prompt that a search has scored, in this order; the same one may be among them several times."""

    prompts: Int[Tensor, "seen n"]
    scores: Scores


def epo(
    objective: Objective[P],
    allowed: Int[Tensor, " allowed"],
    config: DreamConfig,
    seed: int = 0,
    on_iteration: Callable[[int, Scores], None] = lambda _done, _scores: None,
) -> Seen:
    """Search prompts of `config.tokens` tokens.

    Args:
        objective: what scores them.
        allowed: tokens that a prompt may hold.
        config: how it is searched.
        seed: of everything drawn.
        on_iteration: told how many iterations are done, and the scores of all prompts of the last.

    Raises:
        UserError: scores that are not finite.
    """
    generator = torch.Generator().manual_seed(seed)
    least, largest = math.log10(config.least_penalty), math.log10(config.largest_penalty)
    penalties = torch.logspace(least, largest, config.population)
    first = torch.randint(len(allowed), (config.population, config.tokens), generator=generator)
    members, seen = allowed[first], []
    for done in range(1, config.iterations + 1):
        parents = objective.graded(members, penalties)
        births = born(parents.gradient, members, allowed, config, generator)
        scores = Scores.joined([parents.scores, objective.children(parents, births)])
        prompts = torch.cat([members, births.prompts(members)])
        if not all(bool(score.isfinite().all()) for score in scores):
            raise UserError("the model or the SAE gives numbers that are not finite; this feature cannot be dreamt")
        seen.append(Seen(prompts, scores))
        under = penalties
        if config.restart_every and done % config.restart_every == 0:
            low, high = config.restart_penalties
            under = (low + (high - low) * torch.rand(1, generator=generator)).expand(config.population)
        members = prompts[select(scores, under)]
        on_iteration(done, scores)
    return Seen(torch.cat([one.prompts for one in seen]), Scores.joined([one.scores for one in seen]))


def select(scores: Scores, penalties: Float[Tensor, " members"]) -> Int[Tensor, " members"]:
    """For each penalty the prompt with the smallest −t + penalty · cross-entropy."""
    return (penalties[:, None] * scores.cross_entropy - scores.target).argmin(1)


def born(
    gradient: Float[Tensor, "members n vocab"],
    members: Int[Tensor, "members n"],
    allowed: Int[Tensor, " allowed"],
    config: DreamConfig,
    generator: torch.Generator,
) -> Births:
    """`config.children` children of each member: a position drawn evenly, there one of the best tokens, evenly too."""
    falls = gradient[..., allowed].neg()
    falls[allowed == members[..., None]] = -torch.inf
    n_best = min(config.candidates, max(len(allowed) - 1, 1))
    best = allowed[falls.topk(n_best, dim=-1).indices]
    member = torch.arange(len(members)).repeat_interleave(config.children)
    position = torch.randint(members.shape[1], member.shape, generator=generator)
    rank = torch.randint(n_best, member.shape, generator=generator)
    return Births(member, position, best[member, position, rank])
