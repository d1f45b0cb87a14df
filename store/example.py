"""Examples of a feature: places where it is active, with their text and with where that comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from store.html import attribution_html, example_html
from store.index import Context, Index
from store.text import display_pieces


@dataclass(frozen=True, eq=False)
class Example:
    """A place where a feature is active, with the text around it.

    Attributes:
        context, position: where the peak is; value: the activation there.
        document: name.
        start: position in the context of the window's first token.
        tokens, pieces, special, activations: the window, token by token: ids, source bytes (of special tokens their
            name), which are special, float32 activations.
        peak: index of the peak in the window.
    """

    context: int
    position: int
    value: float
    document: str
    start: int
    tokens: list[int]
    pieces: list[bytes]
    special: list[bool]
    activations: NDArray[np.float32]
    peak: int
    _band: int
    _index: Index
    _activations: Callable[[int], NDArray[np.float32]]

    @property
    def text(self) -> list[str]:
        """One string per token of the window, for showing (see `store.text.display_pieces`)."""
        return display_pieces(self.pieces)

    @property
    def byte(self) -> int:
        """Where in the document the peak token begins, in bytes."""
        return self._index.byte_of(self.context * self._index.context_length + self.position)

    def whole(self) -> Example:
        """The same example with its whole context instead of a window."""
        context: Context = self._index.context(self.context)
        changed = {"start": 0, "peak": self.position, "activations": self._activations(self.context)}
        texts = {"tokens": context.tokens, "pieces": context.pieces, "special": context.special}
        return Example(**{**self.__dict__, **changed, **texts})

    def _repr_html_(self) -> str:
        return example_html(self)

    def __repr__(self) -> str:
        text = self.text
        left, right = "".join(text[: self.peak]), "".join(text[self.peak + 1 :])
        return f"<{self.value:.3g} {self.document}: {left!r} →{text[self.peak]!r}← {right!r}>"


class Band(NamedTuple):
    """Examples drawn evenly from the activations between two quantiles."""

    lo: float
    hi: float
    """Shares of the feature's own activations, weakest 0, strongest 1."""
    examples: list[Example]


class Negative(NamedTuple):
    """A text on which a similar feature is strong and this one is silent."""

    neighbour: int
    example: Example
    """Of the neighbour: its peak and its value there; `activations` are this feature's, all zero."""


class Source(NamedTuple):
    """A token that an attention feature's activation comes from."""

    position: int
    """In the context."""
    text: str
    value: float
    """What it adds to the pre-activation."""


@dataclass(frozen=True, eq=False)
class Attribution:
    """Where an activation of an attention feature comes from: through which heads, and from which tokens (direct
    feature attribution with the attention patterns taken as given; Kissane et al. 2024).

    Attributes:
        example: the strong example that is explained.
        sources: float32[position + 1], what each token of the context up to the example's adds to the pre-activation.
        heads: float32[heads], what each head adds. Both sum to the pre-activation but for the SAE's biases.
    """

    example: Example
    sources: NDArray[np.float32]
    heads: NDArray[np.float32]

    @property
    def total(self) -> float:
        """The pre-activation but for the SAE's biases."""
        return float(self.sources.sum(dtype=np.float64))

    @property
    def before_window(self) -> float:
        """What the tokens before the example's window add."""
        return float(self.sources[: self.example.start].sum(dtype=np.float64))

    def strongest(self, n: int = 5) -> list[Source]:
        """The tokens that add or take away most, whichever is larger first; the earlier if tied."""
        order = np.argsort(-np.abs(self.sources), kind="stable")[: max(int(n), 0)].tolist()
        text = self.example.whole().text
        return [Source(position, text[position], float(self.sources[position])) for position in order]

    def _repr_html_(self) -> str:
        return attribution_html(self)

    def __repr__(self) -> str:
        said = ", ".join(f"{source.text!r} {source.value:+.3g}" for source in self.strongest())
        return f"<{self.total:.3g} at {self.example.document}, byte {self.example.byte:,}: {said}>"
