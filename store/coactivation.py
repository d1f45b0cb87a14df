"""Which features are active on the same tokens: exact, over all tokens and all features.

For a feature, the codes of just those tokens on which it is active are counted into one array over all features:
work in proportion to codes times codes per token, memory to features. Of features a and b, active on n_a and n_b of T
tokens, on n of them together:

- jaccard: n / (n_a + n_b − n)
- pmi: log2(n T / (n_a n_b)), pointwise mutual information in bits (Church and Hanks 1990), for n ≥ MIN_TOGETHER, since
  it is largest for pairs that met once by chance
- pearson: correlation of the two activations over all T tokens, zeros included, for n ≥ 1
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from store.halfs import to_float
from store.sorting import SortedCodes

PARTNERS = 16
"""Strongest partners kept per feature and measure."""
MIN_TOGETHER = 5
"""Tokens that two features must share for their PMI to count."""
MEASURES = ("jaccard", "pmi", "pearson")
_CODES_AT_ONCE = 4096
_BLOCKS = 4 * PARTNERS


@dataclass(frozen=True)
class Together:
    """What one feature shares with the features that it meets, itself left out.

    Attributes:
        feature: its number; partners: int64[n], rising.
        tokens: int64[n], on which both are active; products: float64[n], the sum over these of the two activations'
            product.
    """

    feature: int
    partners: NDArray[np.int64]
    tokens: NDArray[np.int64]
    products: NDArray[np.float64]


@dataclass(frozen=True)
class Marginals:
    """Of every feature over all tokens: how many it is active on, the sum of its activations, and 1 / sqrt(T Σ v² −
    (Σ v)²), zero if that is not finite.
    """

    n_tokens: int
    tokens: NDArray[np.float64]
    sums: NDArray[np.float64]
    inverse: NDArray[np.float64]


def marginals(codes: SortedCodes, n_tokens: int) -> Marginals:
    """The marginals of all features, of a corpus with n_tokens ordinary tokens."""
    variance = n_tokens * codes.squares - codes.sums**2
    inverse = np.zeros(len(variance))
    inverse[variance > 0] = 1 / np.sqrt(variance[variance > 0])
    return Marginals(n_tokens, np.diff(codes.bounds).astype(np.float64), codes.sums, inverse)


def by_token(codes: SortedCodes) -> csr_matrix:
    """The codes as a sparse matrix with a row per place, not copied."""
    shape = (len(codes.token_bounds) - 1, len(codes.bounds) - 1)
    return csr_matrix((codes.token_values, codes.token_features, codes.token_bounds), shape=shape, copy=False)


def together(codes: SortedCodes, rows: csr_matrix, features: range) -> Iterator[Together]:
    """Count the partners of consecutive features; `rows` is `by_token(codes)`. Codes are looked up many at once, of
    several features or of a part of one.
    """
    m = rows.shape[1]
    tokens, products = np.zeros(m, np.int64), np.zeros(m)
    feature = features.start
    last = int(codes.bounds[features.stop])
    for start in range(int(codes.bounds[features.start]), last, _CODES_AT_ONCE):
        stop = min(start + _CODES_AT_ONCE, last)
        found = rows[codes.places[start:stop]]
        values = to_float(codes.halves[start:stop]).astype(np.float64)
        weights = np.repeat(values, np.diff(found.indptr)) * found.data
        at = start
        while at < stop:
            end = min(int(codes.bounds[feature + 1]), stop)
            own = slice(found.indptr[at - start], found.indptr[end - start])
            tokens += np.bincount(found.indices[own], minlength=m)
            products += np.bincount(found.indices[own], weights[own], m)
            at = end
            if end == codes.bounds[feature + 1]:
                yield _counted(feature, tokens, products)
                feature += 1
    while feature < features.stop:
        yield _counted(feature, tokens, products)
        feature += 1


def _counted(feature: int, tokens: NDArray[np.int64], products: NDArray[np.float64]) -> Together:
    """What has been counted, which is set to zero."""
    tokens[feature] = 0
    partners = np.flatnonzero(tokens)
    shared = Together(feature, partners, tokens[partners], products[partners])
    tokens[:] = 0
    products[:] = 0
    return shared


def strongest(shared: Together, every: Marginals) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """By each measure: indices into the partners of the PARTNERS strongest, falling, the lower feature first if tied,
    and their scores.
    """
    n, own = every.tokens[shared.feature], shared.partners
    theirs, both = every.tokens[own], shared.tokens
    share = both / theirs
    share[both < MIN_TOGETHER] = 0
    covariance = every.n_tokens * shared.products - every.sums[shared.feature] * every.sums[own]
    slope = covariance * every.inverse[own]
    slope[every.inverse[own] * every.inverse[shared.feature] == 0] = -np.inf
    jaccard, pmi, pearson = _largest(both / (n + theirs - both), 0), _largest(share, 0), _largest(slope, -np.inf)
    bits = np.log2(share[pmi] * every.n_tokens / n) if len(pmi) else share[pmi]
    return {
        "jaccard": (jaccard, both[jaccard] / (n + theirs[jaccard] - both[jaccard])),
        "pmi": (pmi, bits),
        "pearson": (pearson, slope[pearson] * every.inverse[shared.feature]),
    }


def _largest(score: NDArray[np.float64], above: float) -> NDArray[np.int64]:
    """Indices of the PARTNERS largest scores above a bound, falling, the lower index first if tied."""
    width = len(score) // _BLOCKS
    if width > 1:  # no fewer than PARTNERS scores reach the PARTNERS-th largest of the blocks' largest
        highest = score[: width * _BLOCKS].reshape(_BLOCKS, width).max(1)
        least = np.sort(highest)[-PARTNERS]
        candidates = np.flatnonzero((score >= least) & (score > above))
    else:
        candidates = np.flatnonzero(score > above)
    return candidates[np.argsort(-score[candidates], kind="stable")][:PARTNERS]


def partner_table(codes: SortedCodes, rows: csr_matrix, features: range, n_tokens: int) -> pa.Table:
    """The rows of the table `coactive` for consecutive features."""
    every = marginals(codes, n_tokens)
    partners, tokens, values, counts = [], [], [], []
    for shared in together(codes, rows, features):
        for best, score in strongest(shared, every).values():
            partners.append(shared.partners[best])
            tokens.append(shared.tokens[best])
            values.append(score)
            counts.append(len(best))
    sizes = np.array(counts).reshape(-1, len(MEASURES))
    measure = np.repeat(np.tile(np.arange(len(MEASURES), dtype=np.int8), len(sizes)), sizes.ravel())
    starts = np.cumsum(sizes) - sizes.ravel()
    return pa.table({
        "feature": np.repeat(np.arange(features.start, features.stop, dtype=np.int32), sizes.sum(1)),
        "measure": pa.DictionaryArray.from_arrays(measure, pa.array(MEASURES)).cast(pa.string()),
        "rank": (np.arange(sizes.sum()) - np.repeat(starts, sizes.ravel())).astype(np.int16),
        "partner": np.concatenate(partners).astype(np.int32),
        "together": np.concatenate(tokens).astype(np.int32),
        "value": np.concatenate(values).astype(np.float32),
    })  # fmt: skip
