"""The text of an index in two halves, laid out so that a pattern over preceding tokens is a few array look-ups.

Decisions:
- Each half is one flat array in which every segment follows WINDOW slots that match nothing. A look back of up to
  WINDOW - 1 tokens therefore never leaves the segment, and nothing has to check for it.
- Of a large corpus a sample of whole contexts is taken, the same for every feature and the same in every run.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int

from saebench.errors import UserError
from store import Index
from store.split import Segments, segments

WINDOW = 10
"""Tokens that a pattern can look at: the one on which the feature fires and nine before it."""


@dataclass(frozen=True)
class Half:
    """One side's text.

    Attributes:
        tokens: ids; `start` in the slot before a segment's first token, `void` in the slots before that and where the
            packing put a special token.
        ordinary: which slots hold a token of the text.
        n_contexts: contexts of the sample with text of this side.
        start, void: the two ids beyond the vocabulary.
    """

    tokens: Int[np.ndarray, " slots"]
    ordinary: Bool[np.ndarray, " slots"]
    n_contexts: int
    start: int
    void: int

    @cached_property
    def n_tokens(self) -> int:
        """Tokens of the text."""
        return int(self.ordinary.sum())

    @cached_property
    def _order(self) -> Int[np.ndarray, " slots"]:
        return np.argsort(self.tokens, kind="stable")

    @cached_property
    def counts(self) -> Int[np.ndarray, " ids"]:
        """How often each id occurs, `start` and `void` included."""
        return np.bincount(self.tokens, minlength=self.void + 1)

    @cached_property
    def _bounds(self) -> Int[np.ndarray, " ids+1"]:
        return np.concatenate([[0], np.cumsum(self.counts)])

    def after(self, token: int, offset: int) -> Int[np.ndarray, " n"]:
        """Slots of the text that stand `offset` tokens behind a given id, ascending."""
        slots = self._order[self._bounds[token] : self._bounds[token + 1]] + offset
        slots = slots[slots < len(self.tokens)]
        return slots[self.ordinary[slots]]

    @cached_property
    def _starts(self) -> Int[np.ndarray, " segments"]:
        return np.flatnonzero(self.tokens == self.start)

    def segment_of(self, slots: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Number of the segment that holds each slot."""
        return np.searchsorted(self._starts, slots) - 1

    def around(
        self, slots: Int[np.ndarray, " n"], size: int, before: float
    ) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        """First slot and the slot after the last of a window of up to `size` slots around each slot.

        A share `before` of the window stands before the slot. At the end of a segment it is moved, not cut, and cut
        only where the segment is shorter.
        """
        segment = self.segment_of(slots)
        begin = self._starts[segment] + 1
        end = np.append(self._starts[1:] - (WINDOW - 1), len(self.tokens))[segment]
        first = np.clip(slots - int(before * size), begin, np.maximum(end - size, begin))
        return first, np.minimum(first + size, end)


@dataclass(frozen=True)
class Halves:
    """Both sides of a sample of an index's contexts.

    Attributes:
        explaining, scoring: the two texts; they share no document.
        seed: of the split.
        n_contexts: contexts in the sample.
    """

    explaining: Half
    scoring: Half
    seed: int
    n_contexts: int
    _row: Int[np.ndarray, " contexts"]
    _slot: Int[np.ndarray, "sampled length"]
    _scoring: Bool[np.ndarray, "sampled length"]

    def locate(
        self, contexts: Int[np.ndarray, " n"], positions: Int[np.ndarray, " n"]
    ) -> tuple[Int[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
        """Slot of each place in its half, -1 outside the sample; and which are for scoring."""
        row = self._row[contexts]
        inside = row >= 0
        slot = np.where(inside, self._slot[row, positions], -1)
        return slot, self._scoring[row, positions] & inside


def read_halves(index: Index, max_tokens: int, seed: int) -> Halves:
    """Read and split up to `max_tokens` tokens of an index: whole contexts, drawn by `seed`.

    Raises:
        UserError: one of the halves would be empty.
    """
    n, length = int(index.meta["n_contexts"]), index.context_length
    drawn = np.random.default_rng(seed).permutation(n)[: max(2, max_tokens // length)]
    row = np.full(n, -1, np.int32)
    row[np.sort(drawn)] = np.arange(len(drawn), dtype=np.int32)
    tokens, special = _contexts(index, row)
    split = segments(index, seed)
    kept = row[split.context] >= 0
    void = len(index.vocabulary) + 1
    slot = np.full(tokens.shape, -1, np.int32)
    side = np.zeros(tokens.shape, bool)
    halves = []
    for scoring in (False, True):
        mine = kept & (split.scoring == scoring)
        if not mine.any():
            raise UserError(
                f"index {index.id} has too few documents to be split into text that explains and text that scores; "
                "index more text, or try another explain.seed"
            )
        halves.append(_lay_out(tokens, special, split, mine, row, void, slot))
        begin, end = row[split.context[mine]] * length + split.start[mine], split.stop[mine] - split.start[mine]
        side.ravel()[_ranges(begin, end)] = scoring
    return Halves(halves[0], halves[1], seed, len(drawn), row, slot, side)


def _contexts(
    index: Index, row: Int[np.ndarray, " contexts"]
) -> tuple[Int[np.ndarray, "sampled length"], Bool[np.ndarray, "sampled length"]]:
    """Tokens of the sampled contexts, and which are special."""
    n = int(row.max()) + 1
    tokens, special = np.empty((n, index.context_length), np.int32), np.empty((n, index.context_length), bool)
    sql = f"SELECT context, tokens, spans FROM {index.table('context')} ORDER BY context"
    for batch in index.cursor().sql(sql).to_arrow_table().to_batches(max_chunksize=4096):
        rows = row[batch["context"].to_numpy()]
        keep = rows >= 0
        for out, name in ((tokens, "tokens"), (special, "spans")):
            values = batch[name].flatten().to_numpy().reshape(-1, index.context_length)[keep]
            out[rows[keep]] = values if name == "tokens" else values < 0
    return tokens, special


def _lay_out(
    tokens: Int[np.ndarray, "sampled length"],
    special: Bool[np.ndarray, "sampled length"],
    split: Segments,
    mine: Bool[np.ndarray, " segments"],
    row: Int[np.ndarray, " contexts"],
    void: int,
    slot: Int[np.ndarray, "sampled length"],
) -> Half:
    """The flat text of some segments; fills in the slots of their places."""
    begin = row[split.context[mine]].astype(np.int64) * tokens.shape[1] + split.start[mine]
    size = (split.stop[mine] - split.start[mine]).astype(np.int64)
    places = _ranges(begin, size)
    first = np.cumsum(size + WINDOW) - size
    slots = _ranges(first, size)
    flat_tokens = np.full(int(first[-1] + size[-1]), void, np.int32)
    flat_tokens[first - 1] = void - 1
    ordinary = np.zeros(len(flat_tokens), bool)
    ordinary[slots] = ~special.ravel()[places]
    flat_tokens[slots] = np.where(ordinary[slots], tokens.ravel()[places], void)
    slot.ravel()[places] = np.where(ordinary[slots], slots, -1)
    return Half(flat_tokens, ordinary, len(np.unique(split.context[mine])), void - 1, void)


def _ranges(begin: Int[np.ndarray, " n"], size: Int[np.ndarray, " n"]) -> Int[np.ndarray, " total"]:
    """begin[0] … begin[0] + size[0] - 1, begin[1] …"""
    offsets = np.cumsum(size) - size
    return np.arange(int(size.sum())) + np.repeat(begin - offsets, size)
