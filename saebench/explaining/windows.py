"""Stretches of text to show to a language model or an encoder: where a feature is active, and where it is not.

Decisions:
- One example per segment and no two with the same tokens, so that a repeated licence header counts once.
- Positives for scoring come evenly from tenths of the feature's own ranks (Paulo et al. 2024): an explanation that
  holds only for the strongest activations should not score as if it held for all.
- Half of the negatives are hard: where one of the nearest features by decoder cosine is strong and this one is silent.
  Random negatives alone are told apart by the topic.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from saebench.explaining.activations import Side
from saebench.explaining.halves import Half
from store.text import display_pieces

BEFORE = 0.75
"""Share of a window that stands before its centre: features look back."""
BANDS = 10
LOOKED_AT = 100_000
"""Places among which random negatives are sought: for a feature that is nearly everywhere, there are few."""
SHOWN_ACTIVE = 0.3
"""A token is marked if it reaches this share of the feature's maximum, or is the strongest of its window."""


@dataclass(frozen=True)
class Window:
    """A stretch of text.

    Attributes:
        text: one string per token; activations: of the feature, 0 where it is silent.
        marked: which tokens are pointed out.
    """

    text: tuple[str, ...]
    activations: tuple[float, ...]
    marked: tuple[bool, ...]

    @property
    def plain(self) -> str:
        """The text alone."""
        return "".join(self.text)

    @property
    def highlighted(self) -> str:
        """The text with its marked tokens between « and »."""
        return "".join(f"«{text}»" if marked else text for text, marked in zip(self.text, self.marked, strict=True))


class Windows:
    """Cuts windows of one half for one feature."""

    def __init__(self, half: Half, side: Side, size: int, vocabulary: Sequence[bytes], maximum: float) -> None:
        self._half, self._side, self._size, self._vocabulary = half, side, size, vocabulary
        self._maximum = maximum
        order = np.argsort(side.slots)
        self._slots, self._values = side.slots[order], side.values[order]

    def peaks(self) -> Int[np.ndarray, " n"]:
        """The strongest slot of every segment in which the feature is active, strongest first."""
        segment = self._half.segment_of(self._side.slots)
        _, first = np.unique(segment, return_index=True)
        return self._side.slots[np.sort(first)]

    def strongest(self, n: int) -> list[Window]:
        """The n strongest examples, or as many as there are."""
        return self._distinct(self.peaks(), n)

    def by_rank(self, n: int, rng: np.random.Generator) -> list[Window]:
        """Up to n examples, drawn evenly from tenths of the ranks of the segments' peaks."""
        bands = [rng.permutation(band) for band in np.array_split(self.peaks(), BANDS)]
        deepest = max(map(len, bands), default=0)
        return self._distinct((int(band[i]) for i in range(deepest) for band in bands if i < len(band)), n)

    def silent(self, candidates: Int[np.ndarray, " n"], n: int) -> list[Window]:
        """Up to n windows around candidates within which the feature is never active."""
        first, stop = self._half.around(candidates, self._size, BEFORE)
        active = np.searchsorted(self._slots, stop) > np.searchsorted(self._slots, first)
        return self._distinct(candidates[~active], n)

    def negatives(self, n: int, near: Iterable[Side], rng: np.random.Generator) -> list[Window]:
        """Up to n windows without the feature: half around strong places of the `near` features, the rest anywhere."""
        strong = [side.slots[: max(1, len(side.slots) // 5)] for side in near]
        hard = self.silent(rng.permutation(np.concatenate([*strong, np.zeros(0, np.int64)]).astype(np.int64)), n // 2)
        anywhere = rng.permutation(np.flatnonzero(self._half.ordinary))[:LOOKED_AT]
        known = {window.text for window in hard}
        random = [window for window in self.silent(anywhere, n) if window.text not in known]
        return hard + random[: n - len(hard)]

    def mismarked(self, windows: Sequence[Window], rng: np.random.Generator) -> list[Window]:
        """Windows with as many marks as before, but on tokens on which the feature is silent; those with too few such
        tokens are left out.
        """
        found = []
        for window in windows:
            silent = np.flatnonzero(np.array(window.activations) == 0)
            if len(silent) >= sum(window.marked):
                wrong = set(rng.permutation(silent)[: sum(window.marked)].tolist())
                found.append(replace(window, marked=tuple(i in wrong for i in range(len(window.text)))))
        return found

    def _distinct(self, centres: Iterable[int], n: int) -> list[Window]:
        found: dict[tuple[str, ...], Window] = {}
        for centre in centres:
            if len(found) == n:
                break
            window = self._cut(int(centre))
            found.setdefault(window.text, window)
        return list(found.values())

    def _cut(self, centre: int) -> Window:
        first, stop = (int(edge[0]) for edge in self._half.around(np.array([centre]), self._size, BEFORE))
        slots = np.arange(first, stop)[self._half.ordinary[first:stop]]
        activations = self._at(slots)
        marked = self._marks(activations)
        text = display_pieces([self._vocabulary[token] for token in self._half.tokens[slots]])
        return Window(tuple(text), tuple(activations.tolist()), tuple(marked.tolist()))

    def _at(self, slots: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        where = np.searchsorted(self._slots, slots)
        known = np.append(self._slots, -1)[where] == slots
        return np.where(known, np.append(self._values, 0)[where], 0.0)

    def _marks(self, activations: Float[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        peak = activations.max(initial=0.0)
        return (activations > 0) & ((activations >= SHOWN_ACTIVE * self._maximum) | (activations == peak))
