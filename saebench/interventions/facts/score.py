"""How much of either set a model still knows, in whatever state it is."""

from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from saebench.interventions.facts.facts import Facts
from saebench.interventions.questions import Cloze, QuestionSet, ask
from saebench.interventions.scores import text_scores
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


def questions(facts: Facts, rows: Int[np.ndarray, "facts 5"]) -> QuestionSet:
    """Facts as questions; every word but its value is wrong."""
    said = [[facts.words[token] for token in row] for row in rows]
    asked = tuple(
        Cloze(id=str(number), prompt=" ".join(words[1:-1]), answer=f" {words[-1]}") for number, words in enumerate(said)
    )
    return QuestionSet(name="facts", questions=asked)


def right(lm: LanguageModel, facts: Facts, rows: Int[np.ndarray, "facts 5"]) -> Bool[np.ndarray, " facts"]:
    """Which facts' value is the likeliest word behind the names."""
    return ask(lm, questions(facts, rows)).right.numpy()


def score(lm: LanguageModel, facts: Facts, cut: Halves) -> Scored:
    """Ask a model everything."""
    forget, keep = (right(lm, facts, rows) for rows in (facts.forget, facts.keep))
    return Scored(
        float(forget[cut.seen].mean()), float(forget[cut.unseen].mean()), float(keep.mean()),
        text_scores(lm, nullcontext, facts.contexts(facts.neutral)).ce,
    )  # fmt: skip
