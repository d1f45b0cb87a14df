"""Patterns over a token and those before it: merged, compiled into a trie, matched over a whole text, and written down.

Notation: `return␣self.«_name|name»` fires on the token in «», which is always the last. ␣ ⏎ ⇥ are a space, a line
break and a tab, ⟨a|b⟩ one of several tokens, ▢ any one token, ⊢ the place where the text (or the model's view of it)
begins; ␣×7 are seven spaces, ▢×2–4 two to four tokens. Whatever stands before a pattern does not matter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Int

from saebench.explaining.halves import Half
from store.text import readable

Test = tuple[int, ...] | None
"""The ids that a pattern allows at one place, in the order in which they are shown; None allows any."""
Pattern = tuple[Test, ...]
"""Tests from the last token (where the feature fires) backwards; the furthest is never None."""

SHOWN_ALTERNATIVES = 8
SHOWN_PATTERNS = 6
_VISIBLE = {" ": "␣", "\n": "⏎", "\t": "⇥", "\r": "␍", "|": "\\|"}


def merge(patterns: Sequence[Pattern]) -> list[Pattern]:
    """Fewer patterns that match the same: those alike but for one token become one with alternatives, and those that
    match nothing but what another does are dropped.
    """
    found = list(dict.fromkeys(patterns))
    while True:
        before = len(found)
        for place in range(max(map(len, found), default=0)):
            found = _merge_at(found, place)
        if len(found) == before:
            break
    return [p for i, p in enumerate(found) if not any(_covers(q, p) for j, q in enumerate(found) if i != j)]


def _covers(wide: Pattern, narrow: Pattern) -> bool:
    """Whether one pattern matches wherever another does."""
    if len(wide) > len(narrow):
        return False
    pairs = zip(wide, narrow, strict=False)
    return all(w is None or (n is not None and set(n) <= set(w)) for w, n in pairs)


def _merge_at(patterns: Sequence[Pattern], place: int) -> list[Pattern]:
    groups: dict[object, Pattern] = {}
    for pattern in patterns:
        test = pattern[place] if place < len(pattern) else None
        alike: list[object] = [None if other is None else frozenset(other) for other in pattern]
        if test is not None:
            alike[place] = "any of these"
        known = groups.setdefault(tuple(alike), pattern)
        if test is not None:
            groups[tuple(alike)] = (
                *known[:place],
                tuple(dict.fromkeys((*(known[place] or ()), *test))),
                *known[place + 1 :],
            )
    return list(groups.values())


@dataclass
class Trie:
    """Patterns that share their endings; each level stands one token further back."""

    edges: dict[Test, Trie] = field(default_factory=dict)
    ends: bool = False

    @classmethod
    def of(cls, patterns: Sequence[Pattern]) -> Trie:
        """The trie of some patterns."""
        root = cls()
        for pattern in patterns:
            node = root
            for test in pattern:
                node = node.edges.setdefault(test, cls())
            node.ends = True
        return root

    def match(self, half: Half) -> Int[np.ndarray, " n"]:
        """Slots of the text at which some pattern ends, ascending."""
        hit = np.zeros(len(half.tokens), bool)
        self._walk(half, 0, None, hit)
        return np.flatnonzero(hit)

    def _walk(
        self, half: Half, offset: int, candidates: Int[np.ndarray, " n"] | None, hit: Bool[np.ndarray, " slots"]
    ) -> None:
        """Mark the ends below this node. `candidates` match so far; None: nothing was asked for yet."""
        if self.ends and candidates is not None:
            hit[candidates] = True
        for test, child in self.edges.items():
            child._walk(half, offset + 1, _narrow(half, offset, candidates, test), hit)


def _narrow(
    half: Half, offset: int, candidates: Int[np.ndarray, " n"] | None, test: Test
) -> Int[np.ndarray, " n"] | None:
    if test is None:
        return candidates
    if candidates is None:
        return np.concatenate([half.after(token, offset) for token in test])
    allowed = np.zeros(half.void + 1, bool)
    allowed[list(test)] = True
    return candidates[allowed[half.tokens[candidates - offset]]]


def describe(patterns: Sequence[Pattern], vocabulary: Sequence[bytes]) -> str:
    """The patterns as one line for people, the first of them at most SHOWN_PATTERNS."""
    groups: dict[tuple[object, ...], tuple[Pattern, list[int]]] = {}
    for pattern in patterns:
        gaps = _gaps(pattern)
        alike: tuple[object, ...] = tuple(test and frozenset(test) for test in pattern)
        if len(gaps) == 1:  # patterns that differ in the length of their one gap are shown as one
            alike = (*alike[: gaps[0][0]], "a gap", *alike[sum(gaps[0]) :])
        groups.setdefault(alike, (pattern, []))[1].extend(length for _, length in gaps[:1])
    texts = [_shown(pattern, vocabulary, lengths) for pattern, lengths in groups.values()]
    more = len(texts) - SHOWN_PATTERNS
    return " or ".join(texts[:SHOWN_PATTERNS]) + (f" (and {more} more)" if more > 0 else "")


def written(pattern: Pattern, vocabulary: Sequence[bytes]) -> str:
    """One pattern in the notation of this module."""
    return _shown(pattern, vocabulary, [length for _, length in _gaps(pattern)[:1]])


def _gaps(pattern: Pattern) -> list[tuple[int, int]]:
    """Where each run of tests that allow anything begins, the last token left out, and how long it is."""
    found: list[tuple[int, int]] = []
    for place, test in enumerate(pattern):
        if test is None and place > 0:
            if found and sum(found[-1]) == place:
                found[-1] = (found[-1][0], found[-1][1] + 1)
            else:
                found.append((place, 1))
    return found


def _shown(pattern: Pattern, vocabulary: Sequence[bytes], lengths: Sequence[int]) -> str:
    """A pattern whose first gap may have any of some lengths."""
    gaps = {begin: ([length] if number else sorted(set(lengths)), length)
            for number, (begin, length) in enumerate(_gaps(pattern))}  # fmt: skip
    parts = [f"«{_written(pattern[0], vocabulary)}»"]
    place = 1
    while place < len(pattern):
        if place in gaps:
            parts.append(_gap(gaps[place][0]))
            place += gaps[place][1]
        else:
            parts.append(_written(pattern[place], vocabulary, "⟨", "⟩"))
            place += 1
    return "".join(reversed(parts))


def _gap(lengths: Sequence[int]) -> str:
    """So many tokens of any kind."""
    first, last = lengths[0], lengths[-1]
    if first == last:
        return "▢" * first if first <= 2 else f"▢×{first}"
    consecutive = len(lengths) == last - first + 1
    return f"▢×{first}–{last}" if consecutive else "▢×" + ",".join(map(str, lengths))


def _written(test: Test, vocabulary: Sequence[bytes], left: str = "", right: str = "") -> str:
    if test is None:
        return "▢"
    texts = ["⊢" if token >= len(vocabulary) else visible(vocabulary[token]) for token in test[:SHOWN_ALTERNATIVES]]
    more = len(test) - SHOWN_ALTERNATIVES
    if more > 0:
        texts.append(f"+{more}")
    return texts[0] if len(texts) == 1 else left + "|".join(texts) + right


def visible(piece: bytes) -> str:
    """A token with its blanks made visible, many of them counted."""
    text = "".join(
        _VISIBLE.get(character) or (character if character.isprintable() else f"⟨0x{ord(character):02X}⟩")
        for character in readable(piece)
    )
    return re.sub("␣{4,}", lambda run: f"␣×{len(run[0])}", text)
