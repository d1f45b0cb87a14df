"""Tokens as text, when a character may be split over tokens."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate


def display_pieces(pieces: Sequence[bytes]) -> list[str]:
    """One string per token; joined, they are the decoded bytes of all tokens.

    A character split over several tokens stands in the token that completes it; the tokens before it that hold only
    its first bytes are empty. A byte that is part of no character becomes ⟨0xE2⟩.
    """
    if all(map(bytes.isascii, pieces)):  # most text is: no character is split
        return [piece.decode("ascii") for piece in pieces]
    starts = [0, *accumulate(len(piece) for piece in pieces)]
    out: list[list[str]] = [[] for _ in pieces]
    end = 0
    for character in b"".join(pieces).decode("utf-8", errors="surrogateescape"):
        stray = 0xDC80 <= ord(character) <= 0xDCFF
        end += 1 if stray else len(character.encode())
        token = bisect_right(starts, end - 1) - 1
        out[token].append(f"⟨0x{ord(character) - 0xDC00:02X}⟩" if stray else character)
    return ["".join(text) for text in out]


def readable(piece: bytes) -> str:
    """One token on its own as text."""
    return "".join(display_pieces([piece]))
