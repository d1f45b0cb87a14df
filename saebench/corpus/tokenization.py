"""Token ids together with the source bytes that each token stands for."""

import functools
import json
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

if TYPE_CHECKING:  # they take seconds to load, also for whoever only reads names
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerBase


def byte_to_unicode() -> dict[int, str]:
    """GPT-2's printable stand-in for each byte (Radford et al. 2019, the byte-level BPE alphabet)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    shifted = [byte for byte in range(256) if byte not in set(printable)]
    return {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(shifted)}


def is_byte_level(tokenizer: "PreTrainedTokenizerBase") -> bool:
    """Whether the tokenizer's pieces spell bytes in GPT-2's alphabet."""
    decoder = json.loads(tokenizer.backend_tokenizer.to_str())["decoder"] or {}
    return "ByteLevel" in {decoder.get("type"), *(part.get("type") for part in decoder.get("decoders", []))}


def vocabulary(tokenizer: "PreTrainedTokenizerBase") -> list[bytes]:
    """The bytes of every token id; special tokens are their own names, holes in the ids are empty."""
    special = {token.content for token in tokenizer.added_tokens_decoder.values()}
    byte_of = {character: byte for byte, character in byte_to_unicode().items()}
    byte_level = is_byte_level(tokenizer)

    def spell(piece: str) -> bytes:
        if piece in special:
            return piece.encode()
        if byte_level:
            return bytes(byte_of[character] for character in piece)
        if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
            return bytes([int(piece[3:5], 16)])
        return piece.replace("▁", " ").encode()

    ids = tokenizer.get_vocab()
    pieces = [b""] * (max(ids.values()) + 1)
    for piece, token in ids.items():
        pieces[token] = spell(piece)
    return pieces


class SourceTokenizer:
    """Tokenizes text into ids and the number of source bytes behind each: the lengths sum to the text's bytes."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self.tokenizer = tokenizer
        self.byte_level = is_byte_level(tokenizer)

    @functools.cached_property
    def vocabulary(self) -> list[bytes]:
        """Bytes of every token id."""
        return vocabulary(self.tokenizer)

    @functools.cached_property
    def piece_lengths(self) -> Int[np.ndarray, " vocab"]:
        """Bytes of every token id, counted."""
        return np.array([len(piece) for piece in self.vocabulary], np.int64)

    def encode(self, texts: list[str]) -> list[tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]]:
        """(ids, byte lengths) of each text, no special tokens added."""
        encode = self.tokenizer.backend_tokenizer
        if self.byte_level:
            found = [np.array(e.ids, np.int64) for e in encode.encode_batch_fast(texts, add_special_tokens=False)]
            lengths = [self.piece_lengths[ids] for ids in found]
            if all(own.sum() == len(text.encode()) for own, text in zip(lengths, texts, strict=True)):
                return list(zip(found, lengths, strict=True))
        encodings = encode.encode_batch(texts, add_special_tokens=False)
        return [lengths_by_offsets(text, encoding) for text, encoding in zip(texts, encodings, strict=True)]


def lengths_by_offsets(text: str, encoding: "Encoding") -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """(ids, byte lengths) from offsets, which count characters.

    A character split over several tokens is given whole to the first of them, and what a normaliser dropped to the
    token after it.
    """
    byte_at = np.concatenate([[0], np.cumsum([len(character.encode()) for character in text])])
    ends = np.maximum.accumulate(np.array([end for _, end in encoding.offsets], np.int64))
    ends[-1:] = len(text)
    return np.array(encoding.ids, np.int64), np.diff(byte_at[ends], prepend=0)
