"""What a writer is given: blocks of encoded contexts, and the tables made from the decoder."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from store.errors import StoreError
from store.halfs import LARGEST

Segment = tuple[int, int, int]
"""(first token index in the context, document number, byte offset of that token in the document)"""


@dataclass(frozen=True)
class ContextBlock:
    """n contexts of length L with their codes.

    Attributes:
        tokens: int32[n, L], token ids.
        special: bool[n, L], tokens inserted by the packing (begin, end, padding): no codes, no statistics.
        source: n times the exact source bytes of a context, concatenated.
        bounds: int32[n, L + 1]; token i stands for source[bounds[i]:bounds[i + 1]], nothing if it is special.
            A character of several bytes may be split over tokens.
        segments: for each context, where each run of one document begins.
        offsets: int64[n * L + 1], features: int32[nnz], values: float32[nnz]: the codes of the block's tokens in
            order (CSR). Values that round to zero as half floats (below 3e-8) are left out by the writer.
    """

    tokens: NDArray[np.int32]
    special: NDArray[np.bool_]
    source: list[bytes]
    bounds: NDArray[np.int32]
    segments: list[list[Segment]]
    offsets: NDArray[np.int64]
    features: NDArray[np.int32]
    values: NDArray[np.float32]

    def check(self, n_latents: int, context_length: int) -> None:
        """Raise StoreError, in one line, if the block cannot be stored."""
        for problem in (*_context_problems(self, context_length), *_code_problems(self, n_latents)):
            if problem:
                raise StoreError(f"this block of contexts cannot be stored: {problem}")


def _context_problems(block: ContextBlock, length: int) -> tuple[str | None, ...]:
    n = len(block.tokens)
    if block.tokens.shape != (n, length) or block.special.shape != (n, length):
        return (f"tokens are {block.tokens.shape}, special {block.special.shape}, but contexts have {length} tokens",)
    if block.bounds.shape != (n, length + 1) or len(block.source) != n or len(block.segments) != n:
        return ("bounds, source and segments do not match the number of contexts",)
    spans = np.diff(block.bounds, axis=1)
    if (spans < 0).any() or (block.bounds[:, 0] != 0).any():
        return ("bounds must start at 0 and never fall",)
    if any(bounds[-1] != len(source) for bounds, source in zip(block.bounds, block.source, strict=True)):
        return ("bounds do not end at the end of the source",)
    if (spans[block.special] != 0).any():
        return ("a special token stands for source bytes",)
    for special, segments in zip(block.special, block.segments, strict=True):
        begins = [begin for begin, _, _ in segments]
        ordinary = np.flatnonzero(~special)
        if begins != sorted(begins) or (len(ordinary) and (not begins or begins[0] > ordinary[0])):
            return ("a token belongs to no document (segments)",)
    return (None,)


def _code_problems(block: ContextBlock, n_latents: int) -> tuple[str | None, ...]:
    counts = np.diff(block.offsets)
    if len(block.offsets) != block.tokens.size + 1 or (counts < 0).any() or block.offsets[0] != 0:
        return ("offsets do not match the tokens",)
    if block.offsets[-1] != len(block.features) or len(block.features) != len(block.values):
        return ("offsets do not match the codes",)
    if not np.isfinite(block.values).all():
        return ("an activation is not finite; look at the SAE's training curves, it may have diverged",)
    if len(block.values) == 0:
        return (None,)
    if block.values.min() < 0 or block.values.max() > LARGEST:
        return (f"activations must lie between 0 and {LARGEST:.0f}; train the SAE on normalised activations",)
    if block.features.min() < 0 or block.features.max() >= n_latents:
        return (f"a feature number lies outside 0 … {n_latents - 1}",)
    if counts[block.special.ravel()].any():
        return ("a special token has codes",)
    return (None,)


@dataclass(frozen=True)
class DecoderTables:
    """What is known of M features without any text.

    Attributes:
        decoder_norm: float32[M], Euclidean norm of the decoder row.
        encoder_decoder_cosine: float32[M].
        neighbours: int32[M, K], nearest features by decoder cosine, self excluded; neighbour_cosine: float32[M, K],
            sorted downwards.
        promoted, suppressed: int32[M, T] token ids whose logits the feature raises or lowers most; promoted_logit,
            suppressed_logit: float32[M, T], per unit of activation. -1 where no token is known, behind those that are.
        logit_histogram_edges: float32[bins + 1], shared by all features; logit_histogram: int32[M, bins], how many
            tokens of the vocabulary fall into each bin.
        head_share: float32[M, H], of an SAE of attention outputs the share of each head in the decoder row: the norm of
            the head's slice over the sum of these norms (Kissane et al. 2024); of any other SAE empty.
    """

    decoder_norm: NDArray[np.float32]
    encoder_decoder_cosine: NDArray[np.float32]
    neighbours: NDArray[np.int32]
    neighbour_cosine: NDArray[np.float32]
    promoted: NDArray[np.int32]
    promoted_logit: NDArray[np.float32]
    suppressed: NDArray[np.int32]
    suppressed_logit: NDArray[np.float32]
    logit_histogram_edges: NDArray[np.float32]
    logit_histogram: NDArray[np.int32]
    head_share: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def check(self, n_latents: int, n_tokens: int) -> None:
        """Raise StoreError if a table does not fit n_latents features and a vocabulary of n_tokens."""
        for name in self.__dataclass_fields__:
            table = getattr(self, name)
            optional = name == "head_share" and not table.size
            if name != "logit_histogram_edges" and not optional and len(table) != n_latents:
                raise StoreError(f"decoder table {name} has {len(table)} rows for {n_latents} features")
        pairs = ((self.neighbours, self.neighbour_cosine), (self.promoted, self.promoted_logit))
        for ids, values in (*pairs, (self.suppressed, self.suppressed_logit)):
            if ids.shape != values.shape:
                raise StoreError(f"decoder tables of shapes {ids.shape} and {values.shape} should match")
        for name in ("promoted", "suppressed"):
            ids = getattr(self, name)
            if ids.size and (ids.min() < -1 or ids.max() >= n_tokens):
                raise StoreError(f"decoder table {name} names a token outside the vocabulary of {n_tokens}")
        if self.logit_histogram.shape[1] + 1 != len(self.logit_histogram_edges):
            raise StoreError("decoder table logit_histogram does not match its edges")
