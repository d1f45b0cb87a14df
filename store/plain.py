"""Whether a corpus' text can be read off its tokens alone, as with byte-level tokenizers: examples are then fetched
without their source, which is most of their bytes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.examples import ranges
from store.positions import Positions
from store.staging import Part, read


def text_of_tokens(parts: Sequence[Part], positions: Positions, vocabulary: Sequence[bytes]) -> dict[str, Any]:
    """`plain_text`: whether every ordinary token stands for just its bytes in the vocabulary and no token id is both
    ordinary and special; `special_tokens`: the ids of special tokens.
    """
    special = positions.spans < 0
    ids = np.unique(positions.tokens[special])
    widths = np.array([len(piece) for piece in vocabulary], np.int64)
    ends = np.cumsum(widths)
    pieces = np.frombuffer(b"".join(vocabulary), np.uint8)
    plain = not np.isin(ids, np.unique(positions.tokens[~special])).any() and all(
        _same(part, positions, pieces, ends - widths, widths) for part in parts
    )
    return {"plain_text": bool(plain), "special_tokens": ids.tolist()}


def _same(
    part: Part,
    positions: Positions,
    pieces: NDArray[np.uint8],
    starts: NDArray[np.int64],
    widths: NDArray[np.int64],
) -> bool:
    here = slice(part.start * positions.length, part.stop * positions.length)
    spans = positions.spans[here]
    tokens = positions.tokens[here][spans >= 0]
    if (widths[tokens] != spans[spans >= 0]).any():
        return False
    source = np.frombuffer(b"".join(read(part.contexts)["source"].to_pylist()), np.uint8)
    byte, _ = ranges(starts[tokens], starts[tokens] + widths[tokens])
    return bool((pieces[byte] == source).all())
