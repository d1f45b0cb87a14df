"""A feature's examples: as data, token by token, and as lines of merged tokens for the page."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import zip_longest
from typing import Any

import numpy as np

import store
from web.errors import ProblemError
from web.formats import number, percent, signed
from web.models.examples import Kind
from web.tokens import Unit, units
from web.urls import urls
from web.workspace import Workspace

TOP = 20
PER_BAND = 5
HEADS = 3
_ALIKE = (8, 4)
"""Tokens before and after the peak by which two examples are the same text."""


@dataclass(frozen=True)
class Shown:
    """An example as a line of a page.

    Attributes:
        example: the store's; alike: how many of the list have its text around the peak, itself included.
        attribution: where its activation comes from; neighbour: of a hard negative, the feature that fires there.
    """

    example: store.Example
    alike: int = 1
    attribution: store.Attribution | None = None
    neighbour: int | None = None

    @cached_property
    def units(self) -> list[Unit]:
        """Its tokens, merged into characters."""
        e = self.example
        return units(e.pieces, e.activations.tolist(), e.special)

    @property
    def sources(self) -> list[float]:
        """What each unit adds to the activation."""
        adds = _sources(self.attribution, self.example) if self.attribution else np.zeros(len(self.example.tokens))
        return [float(adds[unit.start : unit.stop].sum()) for unit in self.units]

    @property
    def comes_from(self) -> str:
        """The strongest heads, and how much the text shown leaves out."""
        if self.attribution is None:
            return ""
        heads = sorted(enumerate(self.attribution.heads.tolist()), key=lambda head: -abs(head[1]))[:HEADS]
        before = self.attribution.before_window
        said = [f"head {head} {signed(value)}" for head, value in heads]
        return ", ".join(said) + f" · before this text {signed(before)}" * (before != 0)

    def data(self) -> dict[str, Any]:
        """As `web.models.examples.Example` describes it."""
        e, a = self.example, self.attribution
        return {
            "context": e.context,
            "position": e.position,
            "start": e.start,
            "value": e.value,
            "document": e.document,
            "tokens": e.text,
            "activations": e.activations,
            "alike": self.alike,
            "neighbour": self.neighbour,
            "sources": a and {"total": a.total, "tokens": _sources(a, e), "before": a.before_window, "heads": a.heads},
        }


@dataclass(frozen=True)
class ShownList:
    """Examples of one band of ranks, or of all."""

    examples: list[Shown]
    low: float | None = None
    high: float | None = None

    @property
    def weakest(self) -> float:
        """The smallest activation shown."""
        return min((shown.example.value for shown in self.examples), default=0.0)

    @property
    def title(self) -> str:
        """The band in words; nothing where the list is of all."""
        if self.low is None or self.high is None:
            return ""
        values = [shown.example.value for shown in self.examples]
        shown = f"{number(min(values, default=0.0))} – {number(max(values, default=0.0))}"
        return f"{percent(self.low)} – {percent(self.high)} of activations by rank, here {shown}"

    def data(self) -> dict[str, Any]:
        """As `web.models.examples.Examples` describes it."""
        return {"low": self.low, "high": self.high, "examples": [shown.data() for shown in self.examples]}


@dataclass(frozen=True)
class ExamplesView:
    """A feature's examples of one kind."""

    sae: str
    feature: int
    corpus: str
    kind: Kind
    maximum: float
    """The feature's largest activation, which sets the scale of the highlights."""
    lists: list[ShownList] = field(default_factory=list)

    def data(self) -> dict[str, Any]:
        """As `web.models.examples.ExampleLists` describes it."""
        lists = [shown.data() for shown in self.lists]
        return {"sae": self.sae, "feature": self.feature, "corpus": self.corpus, "kind": self.kind, "lists": lists}


def examples_view(index: dict[str, Any], one: store.Feature, kind: Kind) -> ExamplesView:
    """A feature's examples of one kind."""
    maximum = one.stats.max_activation
    return ExamplesView(index["sae_id"], one.feature, index["corpus_id"], kind, maximum, shown_lists(one, kind))


def shown_lists(one: store.Feature, kind: Kind) -> list[ShownList]:
    """The lists of one kind, the same text shown once in each."""
    match kind:
        case "top":
            return [ShownList(top(one))]
        case "random":
            return [ShownList(collapsed([Shown(example) for example in one.random()]))]
        case "negatives":
            shown = [Shown(negative.example, neighbour=negative.neighbour) for negative in one.negatives()]
            return [ShownList(collapsed(shown))]
        case "quantiles":
            bands = one.quantile_examples(PER_BAND)
            return [ShownList(collapsed([Shown(e) for e in band.examples]), band.lo, band.hi) for band in bands]


def top(one: store.Feature, n: int = TOP) -> list[Shown]:
    """The strongest examples; the store has kept each text once already."""
    return [Shown(example, attribution=of) for example, of in zip_longest(one.top(n), one.attributions(n))]


def collapsed(shown: Sequence[Shown]) -> list[Shown]:
    """The first of those with the same tokens around the peak, with how many there are."""
    before, after = _ALIKE
    groups: dict[tuple[int, ...], list[Shown]] = {}
    for one in shown:
        e = one.example
        text = tuple(e.tokens[max(e.peak - before, 0) : e.peak + after + 1])
        groups.setdefault(text, []).append(one)
    return [Shown(g[0].example, len(g), g[0].attribution, g[0].neighbour) for g in groups.values()]


def _sources(attribution: store.Attribution, example: store.Example) -> np.ndarray:
    """float32[tokens], what each token of an example adds; those behind the peak add nothing."""
    inside = attribution.sources[example.start :]
    return np.pad(inside, (0, max(0, len(example.tokens) - len(inside))))[: len(example.tokens)]


def existing_feature(here: Workspace, feature: int, index: dict[str, Any]) -> store.Feature:
    """The store's feature. Raises ProblemError 404 for a number the SAE does not have."""
    n = index["n_features"]
    if feature >= n:
        cause = f"{index['sae_id']} has no feature {feature}: its features are 0 to {n - 1:,}."
        place = "All features of this SAE", urls.sae(index["sae_id"])
        raise ProblemError(404, "No such feature", cause, "The SAE's page lists them all.", place)
    return here.store.feature(index["sae_id"], feature, index["corpus_id"])


@dataclass(frozen=True)
class ContextView:
    """A whole context with a feature's activation at every token."""

    context: int
    pieces: list[bytes]
    special: list[bool]
    text: list[str]
    activations: list[float]

    @property
    def units(self) -> list[Unit]:
        """Its tokens, merged into characters."""
        return units(self.pieces, self.activations, self.special)


def whole_context(here: Workspace, feature: int, context: int, index: dict[str, Any]) -> ContextView:
    """Every token of a context with the feature's activation. Raises ProblemError 404."""
    existing_feature(here, feature, index)
    if context >= index["n_contexts"]:
        cause = f"{index['corpus_id']} has no context {context}: its contexts are 0 to {index['n_contexts'] - 1:,}."
        place = f"Feature {feature}", urls.feature(index["sae_id"], feature)
        raise ProblemError(404, "No such context", cause, place=place)
    sae_id, corpus = index["sae_id"], index["corpus_id"]
    found = here.store.context(context, sae_id, corpus)
    activations = [0.0] * len(found.pieces)
    for row in here.store.codes(context, sae_id, corpus).filter(f"feature = {feature}").rows():
        activations[row["position"]] = row["value"]
    return ContextView(context, found.pieces, found.special, found.text, activations)
