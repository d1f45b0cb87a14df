"""A feature's page: statistics, logits, neighbours, examples."""

from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import store
from web.errors import ProblemError
from web.figures.features import bars, signed_bars
from web.figures.frame import Figure
from web.formats import fixed, large, number, percent, signed
from web.models.examples import Band, Example, Sources
from web.models.features import FeaturePage, HeadShare, Histogram, Neighbour, Stats, TokenWeight
from web.tokens import Unit, units
from web.views.describe import index_facts
from web.workspace import Workspace

TOP = 20
PER_BAND = 5
HEADS = 3


@dataclass(frozen=True)
class ShownExample:
    """An example with its tokens merged into units, ready for markup."""

    context: int
    peak: int
    """Token of the window."""
    value: float
    document: str
    position: int
    """Token of the whole context."""
    units: list[Unit]
    sources: Sources | None = None

    @classmethod
    def of(cls, example: store.Example, attribution: store.Attribution | None = None) -> "ShownExample":
        """From the store's example, and where its activation comes from if that is known."""
        merged = units(example.pieces, example.activations.tolist(), example.special)
        return cls(
            context=example.context,
            peak=example.peak,
            value=example.value,
            document=example.document,
            position=example.position,
            units=merged,
            sources=None if attribution is None else sources_of(attribution, merged),
        )

    @property
    def comes_from(self) -> str:
        """The strongest heads, and how much the text shown leaves out."""
        if self.sources is None:
            return ""
        heads = sorted(enumerate(self.sources.heads), key=lambda head: -abs(head[1]))[:HEADS]
        said = [f"head {head} {signed(value)}" for head, value in heads]
        return ", ".join(said) + f" · before this text {signed(self.sources.before)}" * (self.sources.before != 0)

    def data(self) -> Example:
        """As data."""
        return Example(
            context=self.context,
            position=self.position,
            value=self.value,
            document=self.document,
            tokens=[unit.text for unit in self.units],
            activations=[unit.activation for unit in self.units],
            sources=self.sources,
        )


@dataclass(frozen=True)
class ShownBand:
    """Examples of one quantile band."""

    low: float
    high: float
    low_value: float
    high_value: float
    examples: list[ShownExample]

    @property
    def title(self) -> str:
        """The band in words."""
        values = f"{number(self.low_value)} – {number(self.high_value)}"
        return f"{percent(self.low)} – {percent(self.high)} of activations by rank, here {values}"

    def data(self) -> Band:
        """As data."""
        return Band(
            low=self.low,
            high=self.high,
            low_value=self.low_value,
            high_value=self.high_value,
            examples=[example.data() for example in self.examples],
        )


def sources_of(attribution: store.Attribution, merged: list[Unit]) -> Sources:
    """What each unit of an example adds; those behind the peak add nothing."""
    inside = attribution.sources[attribution.example.start :]
    return Sources(
        total=attribution.total,
        tokens=[float(inside[unit.start : unit.stop].sum()) for unit in merged],
        before=attribution.before_window,
        heads=attribution.heads.tolist(),
    )


def histogram_of(histogram: store.Histogram) -> Histogram:
    """As plain lists."""
    return Histogram(edges=histogram.edges.tolist(), counts=histogram.counts.tolist())


def weights(logits: list[store.Logit]) -> list[TokenWeight]:
    """Tokens with their logits."""
    return [TokenWeight(token=logit.text, value=logit.value) for logit in logits]


def neighbours(here: Workspace, one: store.Feature, index: dict[str, Any]) -> list[Neighbour]:
    """The nearest features, each with what it promotes."""
    near = one.neighbours()
    if not near:
        return []
    numbers = ", ".join(str(n.feature) for n in near)
    relation = here.store.features(index["sae_id"], index["corpus_id"]).filter(f"feature IN ({numbers})")
    promoted = {row["feature"]: row["promoted"] for row in relation.select("feature", "promoted").rows()}
    return [Neighbour(feature=n.feature, cosine=n.cosine, promoted=promoted[n.feature]) for n in near]


def band_of(band: store.Band) -> ShownBand:
    """From the store's band."""
    examples = [ShownExample.of(example) for example in band.examples]
    values = [example.value for example in examples]
    return ShownBand(band.lo, band.hi, min(values, default=0.0), max(values, default=0.0), examples)


@dataclass(frozen=True)
class FeatureView:
    """Everything on a feature's page."""

    sae: str
    feature: int
    corpus: str
    n_tokens: int
    stats: Stats
    histogram: Histogram | None
    logit_histogram: Histogram
    promoted: list[TokenWeight]
    suppressed: list[TokenWeight]
    neighbours: list[Neighbour]
    heads: list[HeadShare]
    top: list[ShownExample]
    bands: list[ShownBand]
    provenance: list[tuple[str, str]]
    made_from: dict[str, Any]

    @property
    def dead(self) -> bool:
        """Whether it never fires on the corpus."""
        return self.stats.n_active == 0

    @property
    def sentence(self) -> str:
        """The feature's habits in one line."""
        if self.dead:
            return f"Never fires on {self.corpus}"
        s = self.stats
        return f"Fires on {percent(s.density)} of tokens, in {percent(s.documents_share)} of documents of {self.corpus}"

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Statistics for the side column."""
        s = self.stats
        directions = [
            ("decoder norm", number(s.decoder_norm)),
            ("encoder · decoder", fixed(s.encoder_decoder_cosine)),
        ]
        if self.dead:
            return [("activations", "0"), *directions]
        return [
            ("activations", large(s.n_active)),
            ("density", percent(s.density)),
            ("documents", percent(s.documents_share)),
            ("max", number(s.max_activation)),
            ("mean", number(s.mean)),
            ("median", number(s.q[0.5])),
            ("95th percentile", number(s.q[0.95])),
            *directions,
        ]

    @property
    def activation_figure(self) -> Figure | None:
        """Histogram of its activations."""
        if self.histogram is None:
            return None
        return bars(self.histogram.edges, self.histogram.counts, x="activation", what="tokens")

    @property
    def logit_figure(self) -> Figure:
        """Histogram of its direct effects on the logits of all tokens."""
        h = self.logit_histogram
        return signed_bars(h.edges, h.counts, x="logit per unit of activation", what="vocabulary tokens")

    def data(self) -> FeaturePage:
        """The page as data."""
        return FeaturePage(
            sae=self.sae,
            feature=self.feature,
            corpus=self.corpus,
            dead=self.dead,
            n_tokens=self.n_tokens,
            stats=self.stats,
            histogram=self.histogram,
            logit_histogram=self.logit_histogram,
            promoted=self.promoted,
            suppressed=self.suppressed,
            neighbours=self.neighbours,
            heads=self.heads,
            top=[example.data() for example in self.top],
            bands=[band.data() for band in self.bands],
            provenance=self.made_from,
        )


def feature_view(here: Workspace, feature: int, index: dict[str, Any]) -> FeatureView:
    """All of a feature's page. Raises ProblemError 404 for a number the SAE does not have."""
    one = existing_feature(here, feature, index)
    logits = one.logits()
    return FeatureView(
        sae=index["sae_id"],
        feature=feature,
        corpus=index["corpus_id"],
        n_tokens=index["n_tokens"],
        stats=Stats.model_validate(one.stats, from_attributes=True),
        histogram=histogram_of(one.histogram()) if one.stats.n_active else None,
        logit_histogram=histogram_of(one.logit_histogram()),
        promoted=weights(logits.promoted),
        suppressed=weights(logits.suppressed),
        neighbours=neighbours(here, one, index),
        heads=[HeadShare(head=head.head, share=head.share) for head in one.heads()],
        top=[ShownExample.of(*pair) for pair in zip_longest(one.top(TOP), one.attributions(TOP))],
        bands=[band_of(band) for band in one.quantile_examples(PER_BAND)],
        provenance=index_facts(index),
        made_from=index["provenance"],
    )


def existing_feature(here: Workspace, feature: int, index: dict[str, Any]) -> store.Feature:
    """The store's feature. Raises ProblemError 404 for a number the SAE does not have."""
    n = index["n_features"]
    if feature >= n:
        cause = f"{index['sae_id']} has no feature {feature}: its features are 0 to {n - 1:,}."
        raise ProblemError(404, "No such feature", cause, "The SAE's page lists them all.")
    return here.store.feature(index["sae_id"], feature, index["corpus_id"])


def whole_context(here: Workspace, feature: int, context: int, index: dict[str, Any]) -> list[Unit]:
    """Every token of a context with the feature's activation. Raises ProblemError 404."""
    existing_feature(here, feature, index)
    if context >= index["n_contexts"]:
        cause = f"{index['corpus_id']} has no context {context}: its contexts are 0 to {index['n_contexts'] - 1:,}."
        raise ProblemError(404, "No such context", cause)
    sae_id, corpus = index["sae_id"], index["corpus_id"]
    found = here.store.context(context, sae_id, corpus)
    activations = [0.0] * len(found.pieces)
    for row in here.store.codes(context, sae_id, corpus).filter(f"feature = {feature}").rows():
        activations[row["position"]] = row["value"]
    return units(found.pieces, activations, found.special)
