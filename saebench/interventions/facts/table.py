"""Unlearning one set of facts by every way of choosing features and of intervening on them, and by the baselines.

Every method sees the same: one half of the facts to forget, all facts to keep, and the neutral text. It is then tried
on both halves, the facts to keep and the neutral text. What a way of choosing finds does not depend on what is done to
the features, but for attribution, which tries out `removal`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from saebench.corpus import Contexts
from saebench.interventions.apply import Hooked, intervened
from saebench.interventions.baselines import ablated, difference_of_means
from saebench.interventions.choosing import (
    Candidate,
    by_attribution,
    by_frequency,
    by_squares,
    firings_on,
    random_like,
)
from saebench.interventions.choosing.attribution import Make
from saebench.interventions.facts.facts import Facts
from saebench.interventions.facts.score import Halves, Scored, questions, score
from saebench.interventions.kinds import Intervention
from saebench.lm import LanguageModel

NAME = "facts"
"""Under which interventions know the SAE."""
FORGOTTEN, KEPT = 0.05, 0.99
"""Unlearning is done when at most this share of one set is right, and at least that of the other."""


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    where: str
    method: str
    intervention: str
    features: int
    scored: Scored

    @property
    def unlearned(self) -> bool:
        """Whether one set is forgotten, unseen half included, and the other kept."""
        return self.scored.forget <= FORGOTTEN and self.scored.keep >= KEPT


Chosen = Mapping[str, Sequence[Candidate]]
"""By the name of the way of choosing."""
Kinds = Mapping[str, Callable[[Sequence[int]], list[Intervention]]]
"""By name, what is done to all chosen features together."""


def spared(facts: Facts) -> list[Contexts]:
    """The text to retain: the facts to keep, and the neutral text."""
    return list(facts.contexts(np.concatenate([facts.keep, facts.neutral])))


def choose(
    lm: LanguageModel, hooked: Hooked, facts: Facts, cut: Halves, n: int, retain_below: Sequence[float], removal: Make
) -> dict[str, list[Candidate]]:
    """Up to n features by A, by B for every threshold, by C, and at random like those of the first B."""
    seen = facts.forget[cut.seen]
    forget = firings_on(lm, hooked, facts.contexts(seen))
    retain = firings_on(lm, hooked, spared(facts))
    found = {f"B, below {below:g}": by_frequency(NAME, forget, retain, n, below) for below in retain_below}
    found["C"] = by_squares(NAME, forget, retain, n)
    tried = by_attribution(
        lm, {NAME: hooked}, NAME, questions(facts, seen), questions(facts, facts.keep), facts.contexts(facts.neutral),
        removal,
    )  # fmt: skip
    matched = [candidate.feature for candidate in found[f"B, below {retain_below[0]:g}"]]
    densities = firings_on(lm, hooked, facts.contexts(facts.all)).densities
    return {"A": tried[:n], **found, "random": random_like(NAME, matched, densities)}


def by_features(
    lm: LanguageModel, hooked: Hooked, facts: Facts, cut: Halves, chosen: Chosen, kinds: Kinds
) -> Iterable[Row]:
    """Every choice under every kind of intervention; a choice of no features changes nothing."""
    for method, candidates in chosen.items():
        features = [candidate.feature for candidate in candidates]
        for kind, make in kinds.items():
            with intervened(lm, make(features) if features else [], {NAME: hooked}):
                yield Row(hooked.hook_point, method, kind, len(features), score(lm, facts, cut))


def by_direction(
    lm: LanguageModel, hook_point: str, facts: Facts, cut: Halves, strengths: Sequence[float]
) -> Iterable[Row]:
    """Ablation of the difference of means, of several strengths."""
    seen = facts.contexts(facts.forget[cut.seen])
    direction = difference_of_means(lm, hook_point, seen, spared(facts))
    for strength in strengths:
        with ablated(lm, hook_point, direction, strength):
            yield Row(hook_point, "direction", f"ablated, strength {strength:g}", 0, score(lm, facts, cut))
