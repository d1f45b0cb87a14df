"""What a feature's dashboard shows in other tools, as plain numbers and texts of the index.

Decisions:
- Activations are written as they are stored, not rounded to three decimals as SAEDashboard does: read back, they are
  the same half floats.
- A text is the window around the peak that the store itself shows (24 tokens before, 16 after), not the whole context:
  whole contexts of 256 tokens would make the files six times as large.
- A character split over tokens stands in the token that completes it, as on our own pages.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.errors import StoreError
from store.example import Example
from store.feature import Feature
from store.halfs import to_float
from store.index import Index

_ALL = 1 << 20
"""More examples than any index keeps of a feature."""


@dataclass(frozen=True)
class Bin:
    """Some examples, and what they are drawn from.

    Attributes:
        lo, hi: smallest and largest activation of what they are drawn from; lo is None for the strongest of all.
        share: of the corpus' tokens that the feature's activations from lo to hi make up, None for the strongest.
        examples: strongest first.
    """

    lo: float | None
    hi: float
    share: float | None
    examples: list[Example]


def bins(feature: Feature) -> Iterator[Bin]:
    """The strongest examples, then those of each band of ranks, strongest band first; nothing of a dead feature."""
    index = feature.index
    if feature.stats.n_active == 0:
        return
    yield Bin(None, feature.stats.max_activation, None, feature.top(_ALL))
    sql = f"SELECT half FROM {index.table('by_feature')} WHERE feature = {feature.feature} ORDER BY half"
    values = to_float(np.asarray(index.cursor().execute(sql).fetchnumpy()["half"]))
    for band in feature.quantile_examples(_ALL):
        first, last = (-(-len(values) * round(edge * 1000) // 1000) for edge in (band.lo, band.hi))
        if band.examples:
            share = (last - first) / index.meta["n_tokens"]
            yield Bin(float(values[first]), float(values[last - 1]), share, band.examples)


def bars(edges: NDArray[np.float32], counts: NDArray[np.int64]) -> tuple[list[float], list[int]]:
    """(middles of the bars, their heights) of a histogram."""
    wide = edges.astype(np.float64)
    return ((wide[1:] + wide[:-1]) / 2).tolist(), counts.tolist()


@dataclass(frozen=True)
class Correlations:
    """Correlation and cosine of features' activations over all ordinary tokens of an index."""

    index: Index

    @cached_property
    def _sums(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Sum and sum of squares of every feature's activations."""
        sums = np.zeros((2, self.index.n_features))
        sql = f"""SELECT feature, sum(value::DOUBLE), sum(value::DOUBLE * value::DOUBLE)
                  FROM {self.index.table("activation")} GROUP BY feature"""
        for feature, total, squares in self.index.rows(sql):
            sums[:, feature] = total, squares
        return sums[0], sums[1]

    def of(self, feature: Feature) -> tuple[list[int], list[float], list[float]]:
        """(partners, Pearson correlations, cosines) of the features that are most correlated with one."""
        partners = feature.coactive("pearson")
        total, squares = self._sums
        n, a = self.index.meta["n_tokens"], feature.feature
        spread = np.sqrt(np.maximum(n * squares - total**2, 0))
        cosines = [
            (p.value * spread[a] * spread[p.feature] + total[a] * total[p.feature])
            / (n * np.sqrt(squares[a] * squares[p.feature]))
            for p in partners
        ]
        return [p.feature for p in partners], [p.value for p in partners], [float(cosine) for cosine in cosines]


def description(feature: Feature, correlations: Correlations) -> dict[str, Any]:
    """The keys that SAEDashboard and Neuronpedia share; those of neurons and heads are empty, being unknown here."""
    promoted, suppressed = feature.logits()
    frequency, logits = bars(*feature.histogram()), bars(*feature.logit_histogram())
    partners, pearson, cosines = correlations.of(feature)
    return {
        "neuron_alignment_indices": [],
        "neuron_alignment_values": [],
        "neuron_alignment_l1": [],
        "correlated_neurons_indices": [],
        "correlated_neurons_l1": [],
        "correlated_neurons_pearson": [],
        "correlated_features_indices": partners,
        "correlated_features_l1": cosines,  # SAEDashboard calls the cosines so
        "correlated_features_pearson": pearson,
        "neg_str": [logit.text for logit in suppressed],
        "neg_values": [logit.value for logit in suppressed],
        "pos_str": [logit.text for logit in promoted],
        "pos_values": [logit.value for logit in promoted],
        "frac_nonzero": feature.stats.density,
        "freq_hist_data_bar_values": frequency[0],
        "freq_hist_data_bar_heights": frequency[1],
        "logits_hist_data_bar_heights": logits[1],
        "logits_hist_data_bar_values": logits[0],
        "decoder_weights_dist": [],
    }


def to_json(value: Any) -> str:
    """JSON of one line.

    Raises:
        StoreError: a number is not finite, for which JSON has no word.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        raise StoreError("the index holds a number that is not finite; run `saebench store check`") from None
