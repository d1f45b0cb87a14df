"""Attention heads as nodes, and how well a ranking of them agrees with a known set.

Decisions: precision and recall are of a set that was chosen without knowing the truth. O'Neill & Bui's "F1" is the
harmonic mean of the true-positive and true-negative rates, at the best threshold; it is not reported.
"""

from collections.abc import Hashable, Mapping, Set
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple, TypeVar

from saebench.lm import LanguageModel


class Head(NamedTuple):
    """An attention head."""

    layer: int
    head: int

    def __str__(self) -> str:
        return f"{self.layer}.{self.head}"

    @property
    def site(self) -> str:
        """The hook point that holds its output before the projection, beside those of the layer's other heads."""
        return site_of(self.layer)


Edge = tuple[Head, Head]
"""(sender, receiver), the receiver in a later layer."""
Item = TypeVar("Item", bound=Hashable)


def site_of(layer: int) -> str:
    """The hook point of a layer's heads."""
    return f"blocks.{layer}.attn.hook_z"


def all_heads(lm: LanguageModel) -> list[Head]:
    """Every head of a model, by layer."""
    return [Head(*which) for which in product(range(lm.n_layers), range(lm.n_heads))]


@dataclass(frozen=True)
class Match:
    """How a ranking agrees with a known set.

    Attributes:
        roc_auc: chance that a true item scores above another one; None where all or none are true.
        average_precision: area under precision over recall; None likewise.
        precision: share of the chosen that are true; 0 where none was chosen.
        recall: share of the true that were chosen; 0 where there is none.
        n_true: how many are true.
        n_chosen: how many were chosen.
    """

    roc_auc: float | None
    average_precision: float | None
    precision: float
    recall: float
    n_true: int
    n_chosen: int


def matched(scores: Mapping[Item, float], chosen: Set[Item], truth: Set[Item]) -> Match:
    """Compare scores, and the items chosen by them, with what is true.

    Raises:
        ValueError: something chosen or true has no score.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    if unknown := (chosen | truth) - set(scores):
        raise ValueError(f"no score of {', '.join(map(str, unknown))}")
    hits = len(chosen & truth)
    true, values = [item in truth for item in scores], list(scores.values())
    ranked = 0 < len(truth) < len(scores)
    return Match(
        roc_auc=float(roc_auc_score(true, values)) if ranked else None,
        average_precision=float(average_precision_score(true, values)) if ranked else None,
        precision=hits / len(chosen) if chosen else 0.0,
        recall=hits / len(truth) if truth else 0.0,
        n_true=len(truth),
        n_chosen=len(chosen),
    )


def above_mean(scores: Mapping[Item, float]) -> set[Item]:
    """Those that score above the mean: a choice that needs no threshold and no truth."""
    mean = sum(scores.values()) / max(len(scores), 1)
    return {item for item, score in scores.items() if score > mean}
