"""The two halves of a corpus: text from which explanations are made, and text on which they are scored.

Decisions:
- A document is the unit, and its side is a hash of its content and a seed. So no document is ever on both sides, nor
  is a copy of it under another name; a rebuilt index, another SAE and a longer corpus split the same text alike.
- A context may hold the end of one document and the beginning of the next, on different sides. So what has a side is
  a segment (the run of one document in one context), not a context: to drop mixed contexts would drop nearly all text
  of a corpus of short documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from store.errors import StoreError
from store.positions import mix

if TYPE_CHECKING:
    from store.index import Index


def scoring(documents: Sequence[str], seed: int = 0) -> NDArray[np.bool_]:
    """Which documents are for scoring; the others are for explaining. About half of them are.

    Args:
        documents: sha256 of each document's content, in hexadecimal.
        seed: draws another split; from 0 to 2⁶⁴ − 1.

    Returns:
        bool[documents]: the lowest bit of SplitMix64 over the hash's first 64 bits, salted by the seed's own.

    Raises:
        StoreError: something that is no sha256, or a seed out of range.
    """
    if not 0 <= seed < 2**64:
        raise StoreError(f"seed {seed} of the split is out of range; give a number from 0 to 2^64 - 1")
    try:
        heads = np.array([int(_checked(sha256)[:16], 16) for sha256 in documents], np.uint64)
    except ValueError as error:
        raise StoreError(f"a document's {error}; build the index again") from None
    salt = mix(np.array([seed], np.uint64))
    return (mix(heads ^ salt) & np.uint64(1)).astype(bool)


def _checked(sha256: str) -> str:
    if len(sha256) != 64:
        raise ValueError(f"hash {sha256!r} is no sha256")
    return sha256


@dataclass(frozen=True)
class Segments:
    """The runs of one document in one context, in order of (context, start).

    Attributes:
        context, start, stop: int32[n]; tokens start to stop - 1 of the context, special ones at the end included.
        document: int32[n].
        scoring: bool[n], the side of the document.
    """

    context: NDArray[np.int32]
    start: NDArray[np.int32]
    stop: NDArray[np.int32]
    document: NDArray[np.int32]
    scoring: NDArray[np.bool_]


def segments(index: Index, seed: int = 0) -> Segments:
    """Every segment of an index with its side."""
    hashes = [row[0] for row in index.rows(f"SELECT sha256 FROM {index.table('document')} ORDER BY document")]
    sql = f"SELECT context, position, document FROM {index.table('segment')} ORDER BY context, position"
    columns = index.cursor().execute(sql).fetchnumpy()
    context, start, document = (np.asarray(columns[name], np.int32) for name in ("context", "position", "document"))
    last = np.diff(context, append=-1) != 0
    stop = np.where(last, index.context_length, np.roll(start, -1)).astype(np.int32)
    return Segments(context, start, stop, document, scoring(hashes, seed)[document])
