"""A feature's page: what is said of it, statistics, logits, neighbours, strongest examples."""

from dataclasses import dataclass
from typing import Any

import store
from store import Histogram, Logit, Remarks, Stats
from web.figures.features import bars, signed_bars
from web.figures.frame import Figure
from web.formats import fixed, large, number, percent
from web.models.features import Measure
from web.views.describe import index_facts
from web.views.examples import ExamplesView, examples_view, existing_feature
from web.workspace import Workspace

PARTNERS = 12
FLAGS = {
    "dead": "never fires here",
    "dense": "fires on more than 10% of tokens",
    "duplicate": "another decoder row has a cosine above 0.9 with its own",
    "position_locked": "at least half of its activations stand at one position of the context",
    "bos_only": "fires almost only on the first token of a context",
}
"""What is odd about a feature, in words."""


@dataclass(frozen=True)
class Related:
    """A feature that has to do with the page's; as `web.models.features.Related` describes it."""

    feature: int
    value: float
    together: int | None
    said: str | None
    promoted: list[str]


@dataclass(frozen=True)
class FeatureView:
    """Everything on a feature's page that comes at once."""

    sae: str
    feature: int
    corpus: str
    n_tokens: int
    stats: Stats
    remarks: Remarks
    histogram: Histogram
    logit_histogram: Histogram
    promoted: list[Logit]
    suppressed: list[Logit]
    neighbours: list[Related]
    heads: list[store.Head]
    top: ExamplesView
    index: dict[str, Any]

    @property
    def sentence(self) -> str:
        """The feature's habits in one line."""
        s = self.stats
        if s.dead:
            return f"Never fires on {self.corpus}"
        return f"Fires on {percent(s.density)} of tokens, in {percent(s.documents_share)} of documents of {self.corpus}"

    @property
    def flags(self) -> list[tuple[str, str]]:
        """What is odd about it: (word, meaning)."""
        return [(name.replace("_", " "), meaning) for name, meaning in FLAGS.items() if getattr(self.stats, name)]

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Statistics for the strip."""
        s = self.stats
        directions = [
            ("decoder norm", number(s.decoder_norm)),
            ("encoder · decoder", fixed(s.encoder_decoder_cosine)),
        ]
        if s.dead:
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
    def provenance(self) -> list[tuple[str, str]]:
        """Where the numbers come from."""
        return index_facts(self.index)

    @property
    def activation_figure(self) -> Figure | None:
        """Histogram of its activations; None if it has none."""
        edges, counts = self.histogram
        return bars(edges, counts, x="activation", what="tokens") if len(counts) else None

    @property
    def logit_figure(self) -> Figure:
        """Histogram of its direct effects on the logits of all tokens."""
        return signed_bars(*self.logit_histogram, x="logit per unit of activation", what="vocabulary tokens")

    def data(self) -> dict[str, Any]:
        """As `web.models.features.FeaturePage` describes it."""
        return {
            "sae": self.sae,
            "feature": self.feature,
            "corpus": self.corpus,
            "dead": self.stats.dead,
            "n_tokens": self.n_tokens,
            "stats": self.stats,
            "remarks": remarks_data(self.remarks),
            "histogram": self.histogram._asdict() if len(self.histogram.counts) else None,
            "logit_histogram": self.logit_histogram._asdict(),
            "promoted": [{"token": logit.text, "value": logit.value} for logit in self.promoted],
            "suppressed": [{"token": logit.text, "value": logit.value} for logit in self.suppressed],
            "neighbours": self.neighbours,
            "heads": [head._asdict() for head in self.heads],
            "top": self.top.lists[0].data()["examples"],
            "provenance": self.index["provenance"],
        }


def feature_view(here: Workspace, feature: int, index: dict[str, Any]) -> FeatureView:
    """A feature's page. Raises ProblemError 404 for a number the SAE does not have."""
    one = existing_feature(here, feature, index)
    logits = one.logits()
    return FeatureView(
        sae=index["sae_id"],
        feature=feature,
        corpus=index["corpus_id"],
        n_tokens=index["n_tokens"],
        stats=one.stats,
        remarks=here.store.remarks(index["sae_id"], feature),
        histogram=one.histogram(),
        logit_histogram=one.logit_histogram(),
        promoted=logits.promoted,
        suppressed=logits.suppressed,
        neighbours=related(here, one, [(n.feature, n.cosine, None) for n in one.neighbours()]),
        heads=one.heads(),
        top=examples_view(index, one, "top"),
        index=index,
    )


def coactive(here: Workspace, feature: int, index: dict[str, Any], measure: Measure) -> list[Related]:
    """The features that fire on the same tokens. Raises ProblemError 404."""
    one = existing_feature(here, feature, index)
    return related(here, one, [(p.feature, p.value, p.together) for p in one.coactive(measure, PARTNERS)])


def related(here: Workspace, one: store.Feature, found: list[tuple[int, float, int | None]]) -> list[Related]:
    """Other features of the same SAE: (feature, value, tokens together), with what they are called and promote."""
    said = here.store.said(one.sae, [feature for feature, _, _ in found])
    return [
        Related(
            feature=feature,
            value=value,
            together=together,
            said=said[feature].text if feature in said else None,
            promoted=one.index.promoted(feature),
        )
        for feature, value, together in found
    ]


def remarks_data(remarks: Remarks) -> dict[str, Any]:
    """As `web.models.features.Remarks` describes it."""
    return {
        "label": remarks.label.text if remarks.label else None,
        "explanations": [
            {name: getattr(e, name) for name in ("text", "score", "scorer", "split", "method", "version", "corpus")}
            for e in remarks.explanations
        ],
        "notes": [{"text": note.text, "author": note.author, "made_at": note.made_at} for note in remarks.notes],
        "lists": remarks.lists,
    }
