"""Arrow rows of the small tables."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from store import statistics
from store.blocks import DecoderTables
from store.positions import Positions
from store.staging import lists

DENSE = 0.1
"""A feature active on a larger share of tokens is dense."""
DUPLICATE = 0.9
"""A feature whose nearest decoder row has a larger cosine is a duplicate."""
POSITION_LOCKED, SEEN = 0.5, 20
"""A feature is locked to a position if this share of its active tokens lie at one position, and these many are seen."""
BOS_ONLY = 0.95
"""A feature is of the beginning only if this share of its active tokens are the first ordinary one of a context."""
FLAGS = (DENSE, DUPLICATE, POSITION_LOCKED, SEEN, BOS_ONLY)


def feature_tables(
    codes: statistics.Codes,
    positions: Positions,
    n_tokens: int,
    n_documents: int,
    text: NDArray[np.object_],
    decoder: DecoderTables,
) -> tuple[pa.Table, pa.Table]:
    """The rows of `feature` and of `histogram` for a run of features; `text` is the vocabulary as strings, and None."""
    n = len(codes.n_active)
    own = slice(codes.first, codes.first + n)
    number = np.arange(codes.first, codes.first + n, dtype=np.int32)
    in_documents = statistics.distinct(codes, positions.documents_of(codes.places))
    token, share = statistics.top_tokens(codes, positions.tokens[codes.places])
    names = text[token]
    edges, counts = statistics.histograms(codes)
    feature = pa.table({
        "feature": number,
        "n_active": codes.n_active,
        "density": codes.n_active / max(n_tokens, 1),
        "n_documents": in_documents.astype(np.int32),
        "documents_share": in_documents / max(n_documents, 1),
        "mean": statistics.means(codes),
        "max_activation": statistics.largest(codes),
        "q": lists(*statistics.quantiles(codes)),
        "top_token": pa.array(names, pa.string()),
        "top_token_id": token.astype(np.int32),
        "top_token_share": share,
        "decoder_norm": decoder.decoder_norm[own],
        "encoder_decoder_cosine": decoder.encoder_decoder_cosine[own],
        "promoted": _token_lists(decoder.promoted[own], text),
        "suppressed": _token_lists(decoder.suppressed[own], text),
        **_flags(codes, positions, n_tokens, decoder),
    })  # fmt: skip
    rows = np.arange(n + 1)
    widths = (edges.shape[1], counts.shape[1])
    columns = {"edges": lists(edges.ravel(), rows * widths[0]), "counts": lists(counts.ravel(), rows * widths[1])}
    return feature, pa.table({"feature": number, **columns})


def _flags(
    codes: statistics.Codes, positions: Positions, n_tokens: int, decoder: DecoderTables
) -> dict[str, NDArray[np.bool_]]:
    n = len(codes.n_active)
    seen = codes.n_active >= SEEN
    cosine = decoder.neighbour_cosine[codes.first : codes.first + n]
    opening = statistics.share_of(codes, positions.opening[codes.places]) >= BOS_ONLY
    return {
        "dead": codes.n_active == 0,
        "dense": codes.n_active > DENSE * n_tokens,
        "duplicate": cosine.max(1, initial=-1) > DUPLICATE,
        "position_locked": (statistics.share_at_commonest_position(codes, positions.length) >= POSITION_LOCKED) & seen,
        "bos_only": opening & (codes.n_active > 0),
    }


def _token_lists(ids: NDArray[np.int32], text: NDArray[np.object_]) -> pa.ListArray:
    offsets = pa.array(np.concatenate([[0], np.cumsum((ids >= 0).sum(1))]), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(text[ids[ids >= 0]], pa.string()))


def head_table(share: NDArray[np.float32]) -> pa.Table:
    """The rows of `head`; `share` is float32[features, heads], or empty."""
    columns = ranked(share)
    return pa.table({"feature": columns["feature"], "head": columns["rank"], "share": share.ravel()})


def ranked(table: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """The columns `feature` and `rank` for a table with one row per feature."""
    n, k = table.shape
    return {"feature": np.repeat(np.arange(n, dtype=np.int32), k), "rank": np.tile(np.arange(k, dtype=np.int16), n)}
