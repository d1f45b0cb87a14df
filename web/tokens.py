"""Tokens as people read them: bytes merged into characters, the invisible made visible.

A tokenizer works on bytes, so one character may be split over several tokens. `units` merges such tokens into one
unit that carries the largest activation of its members; bytes that cannot be decoded become ⟨0xE2⟩. Control and
bidirectional-override characters, which could disturb the page around them, are shown as ⟨U+202E⟩.

The pieces of one unit are either plain text (its characters are in the page and survive copying) or a glyph that only
stands for something (newline, tab, control character, undecodable byte, special token).
"""

import math
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

OPACITY_LEVELS = 16
"""The stylesheet has one class per level, `a0` (opacity .06) to `a15` (.9)."""

_DECADES = 2.0
_MOST_BYTES = 4
_REMEMBERED = 1 << 16
"""Tokens, of which a vocabulary has some tens of thousands and a page the same again and again."""


class Piece(NamedTuple):
    """A stretch of one unit: `kind` is text, newline, tab or glyph (`text` then stands for something invisible)."""

    kind: str
    text: str


class Unit(NamedTuple):
    """One or more consecutive tokens that are shown as one piece of text."""

    pieces: tuple[Piece, ...]
    activation: float
    start: int
    """Index of its first token in the context."""
    stop: int

    @property
    def text(self) -> str:
        """Its characters; what cannot be shown is spelled out, newlines and tabs are themselves."""
        return "".join(piece.text for piece in self.pieces)


def units(pieces: Sequence[bytes], activations: Sequence[float], specials: Sequence[bool] | None = None) -> list[Unit]:
    """Merge tokens until each unit decodes as UTF-8; undecodable bytes are spelled ⟨0xE2⟩.

    Special tokens (whose pieces are their names) stay units of their own: no character is merged across them.
    """
    out: list[Unit] = []
    start, held = 0, b""
    for i, piece in enumerate(pieces):
        special = specials is not None and specials[i]
        if held and special:
            out.append(Unit(_pieces(held), max(activations[start:i]), start, i))
            held = b""
        if special:
            out.append(Unit((Piece("glyph", piece.decode(errors="replace")),), activations[i], i, i + 1))
        elif held or _incomplete(piece):
            start = start if held else i
            held += piece
            if not _incomplete(held):
                out.append(Unit(_pieces(held), max(activations[start : i + 1]), start, i + 1))
                held = b""
        else:
            out.append(Unit(_pieces(piece), activations[i], i, i + 1))
    if held:
        out.append(Unit(_pieces(held), max(activations[start:]), start, len(pieces)))
    return out


def readable(piece: bytes) -> str:
    """One token on its own, for lists: newline ↵, tab →, undecodable bytes and control characters spelled out."""
    return "".join({"newline": "↵", "tab": "→"}.get(p.kind, p.text) for p in _pieces(piece))


@lru_cache(maxsize=_REMEMBERED)
def _pieces(data: bytes) -> tuple[Piece, ...]:
    return tuple(_split(data.decode("utf-8", errors="surrogateescape")))


def _split(text: str) -> Iterator[Piece]:
    plain: list[str] = []
    for character in text:
        piece = _invisible(character)
        if piece is None:
            plain.append(character)
            continue
        if plain:
            yield Piece("text", "".join(plain))
            plain.clear()
        yield piece
    if plain:
        yield Piece("text", "".join(plain))


def level(activation: float, maximum: float) -> int | None:
    """Opacity level of an activation on a log scale of its share of the feature's own maximum; None for silence."""
    if not activation > 0 or not maximum > 0:
        return None
    share = 1 + math.log10(min(activation / maximum, 1.0)) / _DECADES
    return round(max(share, 0.0) * (OPACITY_LEVELS - 1))


def _invisible(character: str) -> Piece | None:
    if character == "\n":
        return Piece("newline", character)
    if character == "\t":
        return Piece("tab", character)
    if "\udc80" <= character <= "\udcff":  # how surrogateescape carries a byte that is no character
        return Piece("glyph", f"⟨0x{ord(character) - 0xDC00:02X}⟩")
    if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}:
        return Piece("glyph", f"⟨U+{ord(character):04X}⟩")
    return None


@lru_cache(maxsize=_REMEMBERED)
def _incomplete(data: bytes) -> bool:
    """Whether `data` ends inside a character that more bytes could complete."""
    for back in range(1, min(_MOST_BYTES, len(data)) + 1):
        byte = data[-back]
        if byte & 0b1100_0000 != 0b1000_0000:  # not a continuation byte: the character's first
            need = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
            return byte < 0xF5 and byte >= 0xC2 and back < need
    return False
