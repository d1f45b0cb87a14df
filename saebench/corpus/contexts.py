"""Documents packed into contexts of fixed length, without losing where each token came from."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

Segment = tuple[int, int, int]
"""(first token index in the context, document number, byte offset of that token in the document)."""


@dataclass(frozen=True)
class Contexts:
    """A block of contexts.

    Attributes:
        tokens: token ids.
        special: tokens that the packing put in (begin, end, padding), which stand for no source bytes.
        source: each context's source bytes, concatenated.
        bounds: token i of a context stands for source[bounds[i]:bounds[i + 1]].
        segments: for each context, where each run of one document begins.
    """

    tokens: Int[np.ndarray, "contexts length"]
    special: Bool[np.ndarray, "contexts length"]
    source: list[bytes]
    bounds: Int[np.ndarray, "contexts length+1"]
    segments: list[list[Segment]]

    def __len__(self) -> int:
        return len(self.tokens)

    @staticmethod
    def stack(contexts: "list[Contexts]") -> "Contexts":
        """One block of several."""
        return Contexts(
            np.concatenate([c.tokens for c in contexts]),
            np.concatenate([c.special for c in contexts]),
            [source for c in contexts for source in c.source],
            np.concatenate([c.bounds for c in contexts]),
            [segments for c in contexts for segments in c.segments],
        )


@dataclass(frozen=True)
class Encoded:
    """A document's tokens: ids, source bytes behind each, and the source itself."""

    ids: Int[np.ndarray, " n"]
    lengths: Int[np.ndarray, " n"]
    source: bytes


@dataclass
class _Open:
    """The context being filled."""

    tokens: list[np.ndarray]
    special: list[np.ndarray]
    lengths: list[np.ndarray]
    source: list[bytes]
    segments: list[Segment]
    size: int


def pack(documents: Iterable[Encoded], length: int, bos: int | None, eos: int | None) -> Iterator[Contexts]:
    """Yield contexts one at a time: `bos` first, documents end to end with `eos` between, the last one padded.

    Every token of every document is in exactly one context. Padding is `eos` (or `bos`, or token 0): causal
    models never see it, and it is marked special.
    """
    fill = eos if eos is not None else bos if bos is not None else 0
    current = _fresh(bos)
    for number, document in enumerate(documents):
        start = byte = 0
        while start < len(document.ids):
            stop = min(len(document.ids), start + length - current.size)
            lengths = document.lengths[start:stop]
            current.segments.append((current.size, number, byte))
            current.source.append(document.source[byte : byte + int(lengths.sum())])
            _extend(current, document.ids[start:stop], lengths, special=False)
            start, byte = stop, byte + int(lengths.sum())
            if current.size == length:
                yield _close(current, length, fill)
                current = _fresh(bos)
        if eos is not None:
            _extend(current, np.array([eos]), np.array([0]), special=True)
            if current.size == length:
                yield _close(current, length, fill)
                current = _fresh(bos)
    if current.segments:
        yield _close(current, length, fill)


def _fresh(bos: int | None) -> _Open:
    context = _Open([], [], [], [], [], 0)
    if bos is not None:
        _extend(context, np.array([bos]), np.array([0]), special=True)
    return context


def _extend(context: _Open, ids: np.ndarray, lengths: np.ndarray, *, special: bool) -> None:
    context.tokens.append(ids)
    context.lengths.append(lengths)
    context.special.append(np.full(len(ids), special))
    context.size += len(ids)


def _close(context: _Open, length: int, fill: int) -> Contexts:
    missing = length - context.size
    _extend(context, np.full(missing, fill), np.zeros(missing, np.int64), special=True)
    bounds = np.concatenate([[0], np.cumsum(np.concatenate(context.lengths))])
    return Contexts(
        np.concatenate(context.tokens)[None].astype(np.int32),
        np.concatenate(context.special)[None],
        [b"".join(context.source)],
        bounds[None].astype(np.int32),
        [context.segments],
    )
