"""Which features are active on the same tokens: exact, over all tokens and all features.

For a feature, the codes of just those tokens on which it is active are counted into one array over all features:
work in proportion to codes times codes per token, memory to features. Of features a and b, active on n_a and n_b of T
tokens, on n of them together:

- jaccard: n / (n_a + n_b − n)
- pmi: log2(n T / (n_a n_b)), pointwise mutual information in bits (Church and Hanks 1990), for n ≥ MIN_TOGETHER, since
  it is largest for pairs that met once by chance
- pearson: correlation of the two activations over all T tokens, zeros included, for n ≥ 1
"""

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
_TOKENS_AT_ONCE = 4096


@dataclass(frozen=True)
class Together:
    """What one feature shares with the features that it meets, itself left out.

    Attributes:
        partners: int64[n], rising; tokens: int64[n], on which both are active; products: float64[n], the sum over
            these of the two activations' product.
    """

    partners: NDArray[np.int64]
    tokens: NDArray[np.int64]
    products: NDArray[np.float64]


def by_token(codes: SortedCodes) -> csr_matrix:
    """The codes as a sparse matrix with a row per place, not copied."""
    shape = (len(codes.token_bounds) - 1, len(codes.bounds) - 1)
    return csr_matrix((codes.token_values, codes.token_features, codes.token_bounds), shape=shape, copy=False)


def together(codes: SortedCodes, rows: csr_matrix, feature: int) -> Together:
    """Count one feature's partners; `rows` is `by_token(codes)`."""
    own = slice(codes.bounds[feature], codes.bounds[feature + 1])
    places, values = codes.places[own], to_float(codes.halves[own]).astype(np.float64)
    tokens = np.zeros(rows.shape[1], np.int64)
    products = np.zeros(rows.shape[1])
    for start in range(0, len(places), _TOKENS_AT_ONCE):
        here = slice(start, start + _TOKENS_AT_ONCE)
        found = rows[places[here]]
        tokens += np.bincount(found.indices, minlength=len(tokens))
        products += found.T @ values[here]
    tokens[feature] = 0
    partners = np.flatnonzero(tokens)
    return Together(partners, tokens[partners], products[partners])


def scores(codes: SortedCodes, feature: int, shared: Together, n_tokens: int) -> dict[str, NDArray[np.float64]]:
    """float64[partners] of every measure; -inf where it is not defined."""
    n, own = codes.bounds[feature + 1] - codes.bounds[feature], shared.partners
    theirs = codes.bounds[own + 1] - codes.bounds[own]
    with np.errstate(divide="ignore", invalid="ignore"):
        pmi = np.log2(shared.tokens * (n_tokens / (float(n) * theirs)))
        covariance = n_tokens * shared.products - codes.sums[feature] * codes.sums[own]
        mine = n_tokens * codes.squares[feature] - codes.sums[feature] ** 2
        pearson = covariance / np.sqrt(mine * (n_tokens * codes.squares[own] - codes.sums[own] ** 2))
    return {
        "jaccard": shared.tokens / (n + theirs - shared.tokens),
        "pmi": np.where(shared.tokens >= MIN_TOGETHER, pmi, -np.inf),
        "pearson": np.where(np.isfinite(pearson), pearson, -np.inf),
    }


def strongest(score: NDArray[np.float64], n: int) -> NDArray[np.int64]:
    """Indices of the n largest finite scores, falling, the lower index first if tied."""
    candidates = np.flatnonzero(score > -np.inf)
    if len(candidates) > n:
        least = np.partition(score[candidates], len(candidates) - n)[len(candidates) - n]
        candidates = candidates[score[candidates] >= least]
    return candidates[np.argsort(-score[candidates], kind="stable")][:n]


def partner_table(codes: SortedCodes, rows: csr_matrix, features: range, n_tokens: int) -> pa.Table:
    """The rows of the table `coactive` for some features."""
    columns: dict[str, list[NDArray[np.generic]]] = {name: [] for name in ("partner", "together", "value")}
    feature_column, measures, ranks = [], [], []
    for feature in features:
        shared = together(codes, rows, feature)
        for measure, score in scores(codes, feature, shared, n_tokens).items():
            best = strongest(score, PARTNERS)
            columns["partner"].append(shared.partners[best].astype(np.int32))
            columns["together"].append(shared.tokens[best].astype(np.int32))
            columns["value"].append(score[best].astype(np.float32))
            feature_column.append(np.full(len(best), feature, np.int32))
            ranks.append(np.arange(len(best), dtype=np.int16))
            measures += [measure] * len(best)
    names = {"feature": np.concatenate(feature_column), "measure": pa.array(measures, pa.string())}
    return pa.table({**names, "rank": np.concatenate(ranks), **{k: np.concatenate(v) for k, v in columns.items()}})
