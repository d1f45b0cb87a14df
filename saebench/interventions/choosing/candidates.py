"""Features that may be worth intervening on, each with what speaks for and against it, so that a person can judge."""

from collections.abc import Iterable, Sequence

from pydantic import BaseModel, Field

from saebench.errors import UserError
from store import Example, FeatureStore, Firings


class Excerpt(BaseModel, frozen=True, extra="forbid"):
    """A stretch of a document on which a feature fires.

    Attributes:
        document: its name.
        tokens: texts of its tokens; those that share a character are one.
        activations: of the feature, at each of them, the largest where they are one.
        peak: which of them has the largest; in the context that the model read no other token has a larger one.
    """

    document: str
    tokens: tuple[str, ...]
    activations: tuple[float, ...]
    peak: int


class Candidate(BaseModel, frozen=True, extra="forbid"):
    """One feature of one SAE; a list of candidates is in the order of its rank, best first.

    Attributes:
        sae: its SAE's id, or the name under which interventions know it.
        feature: its number.
        method: how it was chosen.
        scores: what it was ranked and filtered by, by name.
        forget_density: share of the tokens of the forget text on which it fires; None where nobody counted.
        retain_density: the same of the text to retain.
        loss_added: nats per token that intervening on it alone adds on the text to retain.
        changes: numbers of the forget questions that intervening on it alone turns from right to wrong; nobody asked
            where `loss_added` is None.
        excerpts: where it fires most in the text to forget, strongest first; empty where nobody looked.
    """

    sae: str
    feature: int = Field(ge=0)
    method: str
    scores: dict[str, float] = {}
    forget_density: float | None = None
    retain_density: float | None = None
    loss_added: float | None = None
    changes: tuple[int, ...] = ()
    excerpts: tuple[Excerpt, ...] = ()


def by_hand(sae: str, features: Iterable[int]) -> list[Candidate]:
    """Somebody's own choice, in their order; a feature named twice counts once."""
    return [Candidate(sae=sae, feature=feature, method="by hand") for feature in dict.fromkeys(features)]


def from_list(store: FeatureStore, name: str) -> list[Candidate]:
    """The features on a list of the workspace, in its order; they may be of several SAEs.

    Raises:
        UserError: there is no such list, or nothing is on it.
    """
    rows = store.listed(name).rows()
    if not rows:
        known = ", ".join(store.list_names()) or "none"
        raise UserError(f"no features are on a list {name!r}; lists: {known}")
    return [Candidate(sae=row["sae"], feature=row["feature"], method=f"list {name}") for row in rows]


def examples(store: FeatureStore, candidate: Candidate, n: int = 5, corpus: str | None = None) -> list[Example]:
    """The text on which a candidate fires most, from an index of its SAE.

    Raises:
        StoreError: there is no such index or feature.
    """
    return store.feature(candidate.sae, candidate.feature, corpus).top(n)


def check_alike(forget: Firings, retain: Firings) -> None:
    """Raise UserError unless both were counted over features of one SAE and over some text."""
    if len(forget.counts) != len(retain.counts):
        raise UserError(
            f"the forget text was counted with {len(forget.counts)} features, the text to retain with "
            f"{len(retain.counts)}; use indexes of one SAE"
        )
    for name, firings in (("forget text", forget), ("text to retain", retain)):
        if not firings.n_tokens:
            raise UserError(f"the {name} has no tokens; choose other documents")


def check_features(features: Sequence[int], n: int) -> None:
    """Raise UserError unless an SAE of n features has them all."""
    for feature in features:
        if not 0 <= feature < n:
            raise UserError(f"there is no feature {feature}; the SAE has 0 to {n - 1}")
