"""A text as a model reads it: tokenized and packed as a corpus is, in contexts of the model's length."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Int

if TYPE_CHECKING:
    from torch import Tensor

    from web.live.models import InUse


class Window(NamedTuple):
    """One context without its padding.

    Attributes:
        tokens: as the model reads them, the begin token among them.
        ordinary: places of the tokens that stand for text.
        pieces: source bytes of each of those.
    """

    tokens: "Int[Tensor, 'one read']"
    ordinary: "Int[Tensor, ' tokens']"
    pieces: list[bytes]


def windows(use: "InUse", text: str) -> Iterator[Window]:
    """The contexts of a text; every token of it is in exactly one."""
    import torch

    from saebench.corpus.contexts import Encoded, pack

    [(ids, lengths)] = use.source.encode([text])
    document = Encoded(ids, lengths, text.encode())
    for context in pack([document], use.lm.context_length, use.lm.tokenizer.bos_token_id, None):
        ordinary = np.flatnonzero(~context.special[0])
        used = int(ordinary[-1]) + 1  # causal: what follows changes nothing
        source, bounds = context.source[0], context.bounds[0]
        pieces = [source[bounds[i] : bounds[i + 1]] for i in ordinary]
        yield Window(torch.from_numpy(context.tokens[:, :used].astype(np.int64)), torch.from_numpy(ordinary), pieces)
