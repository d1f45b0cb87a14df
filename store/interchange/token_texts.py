"""Token ids of tokens that a file gives as text."""

from collections.abc import Sequence

from store.text import readable

PADDING = b"<padding>"


def byte_alphabet() -> dict[int, str]:
    """The printable character that stands for each byte in byte-level vocabularies (Radford et al. 2019, GPT-2)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def ids_of_texts(vocabulary: Sequence[bytes]) -> dict[str, int]:
    """The id of every text that can stand for a token: as it reads, or spelled in GPT-2's alphabet with spaces, line
    breaks and tabs written out, which is how SAEDashboard spells bytes that are no ASCII. Of ids with the same text
    the first; a text that reads as one token is not taken for the spelling of another.
    """
    found: dict[str, int] = {}
    for token, piece in enumerate(vocabulary):
        if piece:
            found.setdefault(readable(piece), token)
    alphabet = byte_alphabet() | {ord(character): character for character in " \n\t"}
    for token, piece in enumerate(vocabulary):
        if piece:
            found.setdefault("".join(alphabet[byte] for byte in piece), token)
    return found
