"""How much of either set a model still knows, in whatever state it is."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from saebench.interventions.choosing.attribution import mean_loss
from saebench.interventions.choosing.prompts import Prompt, answered_right
from saebench.interventions.facts.facts import Facts
from saebench.lm import LanguageModel


@dataclass(frozen=True)
class Halves:
    """Numbers of the facts to forget: those that a method may see, and those that it is then also tried on."""

    seen: Int[np.ndarray, " half"]
    unseen: Int[np.ndarray, " half"]


@dataclass(frozen=True)
class Scored:
    """Shares of the facts that are right, and the loss on the text about nobody.

    Attributes:
        seen: of the facts to forget that the method saw.
        unseen: of the facts to forget that it did not see.
        keep: of the facts to keep.
        neutral_loss: nats per token of the text about nobody.
    """

    seen: float
    unseen: float
    keep: float
    neutral_loss: float

    @property
    def forget(self) -> float:
        """Of all facts to forget; the halves are of one size."""
        return (self.seen + self.unseen) / 2


def halves(facts: Facts, seed: int = 0) -> Halves:
    """The facts to forget, cut in two at random."""
    order = np.random.default_rng(seed).permutation(len(facts.forget))
    middle = len(order) // 2
    return Halves(np.sort(order[:middle]), np.sort(order[middle:]))


def prompts(rows: Int[np.ndarray, "facts 5"]) -> list[Prompt]:
    """Each fact as a question; every word but its value is wrong."""
    return [Prompt(tuple(row[:-1].tolist()), int(row[-1])) for row in rows]


def right(lm: LanguageModel, rows: Int[np.ndarray, "facts 5"]) -> Bool[np.ndarray, " facts"]:
    """Which facts' value is the likeliest word behind the names."""
    return answered_right(lm, prompts(rows)).numpy()


def score(lm: LanguageModel, facts: Facts, cut: Halves) -> Scored:
    """Ask a model everything."""
    forget = right(lm, facts.forget)
    return Scored(
        float(forget[cut.seen].mean()), float(forget[cut.unseen].mean()), float(right(lm, facts.keep).mean()),
        mean_loss(lm, facts.contexts(facts.neutral)),
    )  # fmt: skip
