"""The activations of many features, feature by feature, as slots of the two halves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from saebench.explaining.halves import Halves
from store import Index

READ_TOGETHER = 2_000_000
"""Codes read at once."""


@dataclass(frozen=True)
class Side:
    """Where a feature is active in one half: slots, and how much, strongest first."""

    slots: Int[np.ndarray, " n"]
    values: Float[np.ndarray, " n"]

    def above(self, threshold: float) -> Int[np.ndarray, " n"]:
        """Slots at which it is at least so active."""
        return self.slots[: int(np.searchsorted(-self.values, -threshold, side="right"))]


@dataclass(frozen=True)
class Activations:
    """One feature in the two halves."""

    feature: int
    explaining: Side
    scoring: Side


def read_activations(index: Index, halves: Halves, features: Sequence[int]) -> Iterator[Activations]:
    """The activations of some features within the halves' sample; `features` must be ascending."""
    rows = index.rows(f"SELECT feature, n_active FROM {index.table('feature')} ORDER BY feature")
    for run in _runs(features, dict(rows)):
        found = index.cursor().execute(
            f"SELECT feature, context, position, value FROM {index.table('activation')} "
            "WHERE feature BETWEEN ?::INTEGER AND ?::INTEGER ORDER BY feature, value DESC, context, position",
            [run[0], run[-1]],
        ).fetchnumpy()  # fmt: skip
        slot, scoring = halves.locate(np.asarray(found["context"]), np.asarray(found["position"]))
        bounds = np.searchsorted(np.asarray(found["feature"]), [*run, run[-1] + 1])
        for feature, begin, end in zip(run, bounds[:-1], bounds[1:], strict=True):
            own, value, side = slot[begin:end], np.asarray(found["value"])[begin:end], scoring[begin:end]
            explains, scores = (own >= 0) & ~side, (own >= 0) & side
            yield Activations(feature, Side(own[explains], value[explains]), Side(own[scores], value[scores]))


def _runs(features: Sequence[int], sizes: dict[int, int]) -> Iterator[list[int]]:
    """Runs of consecutive features with at most READ_TOGETHER codes, or of one feature."""
    run: list[int] = []
    size = 0
    for feature in features:
        if run and (feature != run[-1] + 1 or size + sizes[feature] > READ_TOGETHER):
            yield run
            run, size = [], 0
        run.append(feature)
        size += sizes[feature]
    if run:
        yield run
