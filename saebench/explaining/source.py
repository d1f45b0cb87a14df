"""What explanations are made from: one index, its two halves and the settings, and the examples drawn from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from saebench.explaining.activations import Activations, Side, read_activations
from saebench.explaining.config import ExplainConfig
from saebench.explaining.halves import Half, Halves, read_halves
from saebench.explaining.windows import Window, Windows
from store import Index

NEAR = 3
"""Nearest features by decoder cosine that give hard negatives."""


@dataclass(frozen=True)
class Examples:
    """What is shown of one feature.

    Attributes:
        explaining: its strongest examples in the explaining half.
        positives, negatives: examples of the scoring half with and without the feature.
        mismarked: the positives with marks on the wrong tokens.
    """

    feature: int
    explaining: list[Window]
    positives: list[Window]
    negatives: list[Window]
    mismarked: list[Window]


@dataclass(frozen=True)
class Source:
    """An index to be explained."""

    index: Index
    config: ExplainConfig

    @cached_property
    def halves(self) -> Halves:
        """Its text, split."""
        return read_halves(self.index, self.config.max_tokens, self.config.seed)

    def made_with(self, *settings: str) -> dict[str, Any]:
        """What decides an explanation: the index's content, the split and these settings; for its row."""
        chosen = ("seed", "max_tokens", *settings)
        return {"index": self.index.meta["content_hash"], **{name: getattr(self.config, name) for name in chosen}}

    def alive(self) -> list[int]:
        """Features that are active anywhere in the index, ascending."""
        sql = f"SELECT feature FROM {self.index.table('feature')} WHERE n_active > 0 ORDER BY feature"
        return [row[0] for row in self.index.rows(sql)]

    def activations(self, features: Sequence[int]) -> Iterator[Activations]:
        """The activations of some features, ascending, in both halves."""
        return read_activations(self.index, self.halves, features)

    def examples(self, features: Sequence[int]) -> Iterator[Examples]:
        """What is shown of some features, ascending; the same in every run."""
        for found in self.activations(features):
            rng = np.random.default_rng([self.config.seed, found.feature])
            scoring = self._windows(self.halves.scoring, found.scoring, found)
            positives = scoring.by_rank(self.config.positives, rng)
            near = (other.scoring for other in self.activations(sorted(self._near(found.feature))))
            yield Examples(
                found.feature,
                self._windows(self.halves.explaining, found.explaining, found).strongest(self.config.examples),
                positives,
                scoring.negatives(self.config.negatives, near, rng),
                scoring.mismarked(positives, rng),
            )

    def _near(self, feature: int) -> list[int]:
        sql = f"SELECT neighbour FROM {self.index.table('neighbour')} WHERE feature = ?::INTEGER ORDER BY rank LIMIT ?"
        return [row[0] for row in self.index.rows(sql, feature, NEAR)]

    def _windows(self, half: Half, side: Side, found: Activations) -> Windows:
        maximum = max((float(own.values[0]) for own in (found.explaining, found.scoring) if len(own.values)), default=0)
        return Windows(half, side, self.config.window, self.index.vocabulary, maximum)
