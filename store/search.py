"""Finding features: by what is said of them, by what they promote, by what they fire on, by a prompt's codes.

Decisions:
- A search is a relation with the columns of `features` and, before them, what was searched for, best first: it can be
  narrowed by any SQL condition, sorted anew and exported like every other.
- A token is named by its exact text, ' def' and 'def' being two; where there is none, the error names those that
  differ only by blanks or by case.
- "Fires on a token" is weighed by the share of its summed activation that a feature spends there: what it is about,
  rather than what happens to lie under it. It is summed over all codes, not read off examples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from store.errors import StoreError
from store.index import Index
from store.reading import literal, quoted
from store.remarks import everything_said
from store.text import readable

_MOST_HINTS = 5


@dataclass(frozen=True)
class Criterion:
    """One thing searched for: rows of (feature, columns…), and the order that puts the best first."""

    sql: str
    columns: tuple[str, ...]
    order: str


def by_text(sae: str, text: str) -> Criterion:
    """Features of whose label or an explanation every word of `text` is a part, whatever its case: `said`, the label
    or else the best explanation of those, and its `score`. Labels first, then by falling score.
    """
    words = text.lower().split()
    if not words:
        raise StoreError("text to search for is empty")
    said = " AND ".join(f"contains(lower(said), {literal(word)})" for word in words)
    sql = f"""SELECT feature, first(said ORDER BY own DESC, score DESC NULLS LAST, said) AS said,
                     first(score ORDER BY own DESC, score DESC NULLS LAST, said) AS score, bool_or(own) AS labelled
              FROM ({everything_said(sae)})
              WHERE {said} GROUP BY feature"""
    return Criterion(sql, ("said", "score", "labelled"), "labelled DESC, score DESC NULLS LAST")


def by_logit(index: Index, token: str | Sequence[str], sign: int) -> Criterion:
    """Features that keep one of the tokens among those whose logits they raise most (sign 1) or lower most (-1):
    `promotes` or `suppresses`, the change of the logit per unit of activation, the strongest if several.
    """
    name, function, order = ("promotes", "max", "DESC") if sign > 0 else ("suppresses", "min", "ASC")
    sql = f"""SELECT feature, {function}(logit) AS {name} FROM {index.table("logit")}
              WHERE sign = {sign} AND token IN ({_numbers(tokens_of(index, token))}) GROUP BY feature"""
    return Criterion(sql, (name,), f"{name} {order}")


def by_token(index: Index, token: str | Sequence[str]) -> Criterion:
    """Features active on one of the tokens: `token_share`, the share of its summed activation that a feature spends
    on them, and `token_count`, on how many places.
    """
    f16, length = f"{quoted(index.alias)}.f16", index.context_length
    sql = f"""SELECT feature, n AS token_count, total / (mean * n_active) AS token_share
              FROM (SELECT feature, count(*) AS n, sum({f16}(half)::DOUBLE) AS total
                    FROM {index.table("by_feature")}
                    WHERE key - feature::BIGINT * {index.n_places} IN (
                        SELECT context::BIGINT * {length} + position
                        FROM (SELECT context, unnest(tokens) AS token, generate_subscripts(tokens, 1) - 1 AS position
                              FROM {index.table("context")})
                        WHERE token IN ({_numbers(tokens_of(index, token))}))
                    GROUP BY feature)
              JOIN {index.table("feature")} USING (feature)"""
    return Criterion(sql, ("token_share", "token_count"), "token_share DESC")


def tokens_of(index: Index, token: str | Sequence[str]) -> list[int]:
    """The ids of the tokens with just these texts.

    Raises:
        StoreError: there is no such token; names those that differ only by blanks or by case.
    """
    texts = [token] if isinstance(token, str) else list(token)
    if not texts:
        raise StoreError("no token to search for was given")
    found: list[int] = []
    for text in texts:
        wanted = text.encode("utf-8", errors="surrogateescape")
        ids = [number for number, piece in enumerate(index.vocabulary) if piece == wanted]
        if not ids:
            bare = text.strip().lower()
            near = [t for t in map(readable, index.vocabulary) if bare and t.strip().lower() == bare]
            hint = ", ".join(map(repr, near[:_MOST_HINTS]))
            raise StoreError(
                f"{index.id} has no token {text!r}"
                + (f"; it has {hint}" if hint else "; tokens are short pieces of text: search for one of them")
            )
        found += ids
    return found


def joined(features: str, columns: Sequence[str], criteria: Sequence[Criterion]) -> tuple[str, tuple[str, ...]]:
    """The query for those of `features` (a query for all, with these columns) that meet all criteria; its columns."""
    tables = "".join(f"\nJOIN (\n{c.sql}\n) AS c{i} USING (feature)" for i, c in enumerate(criteria))
    found = [f"c{i}.{column}" for i, c in enumerate(criteria) for column in c.columns]
    rest = [f"f.{quoted(column)}" for column in columns[1:]]
    query = f"SELECT {', '.join(['feature', *found, *rest])} FROM (\n{features}\n) AS f{tables}"
    return query, (columns[0], *(column for c in criteria for column in c.columns), *columns[1:])


def activity(
    index: Index,
    offsets: NDArray[np.integer],
    features: NDArray[np.integer],
    values: NDArray[np.floating],
) -> pa.Table:
    """What each feature does in a text of T tokens, from the text's codes.

    Args:
        index: whose features they are.
        offsets: [T + 1]; token t has the codes offsets[t] to offsets[t + 1] - 1.
        features: [codes]; feature numbers.
        values: [codes]; activations.

    Returns:
        Of every feature active in the text: `feature`, `normalised` (its largest activation as a share of its largest
        in the corpus; NULL if it is never active there), `activation` (its largest), `position` (the first token that
        has it) and `n_tokens` (on how many it is active).

    Raises:
        StoreError: the arrays do not fit together, or name a feature that the index does not have.
    """
    offsets, features = np.asarray(offsets, np.int64), np.asarray(features, np.int64)
    values = np.asarray(values, np.float32)
    fits = len(offsets) > 0 and offsets[0] == 0 and (np.diff(offsets) >= 0).all() and offsets[-1] == len(features)
    if not fits or features.shape != values.shape or features.ndim != 1:
        raise StoreError("these codes do not fit together: offsets rise from 0 to the number of features and values")
    if len(features) and not 0 <= features.min() <= features.max() < index.n_features:
        raise StoreError(f"these codes are not of {index.id}: a feature lies outside 0 to {index.n_features - 1}")
    if not np.isfinite(values).all() or (values < 0).any():
        raise StoreError("these codes cannot be ranked: an activation is negative or not finite")
    position = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    active = values > 0
    position, features, values = position[active], features[active], values[active]
    order = np.lexsort((position, -values, features))
    first = order[np.flatnonzero(np.diff(features[order], prepend=-1))]
    counts = np.bincount(features, minlength=1)[features[first]]
    largest = index.features.order("feature").select("max_activation").arrow()["max_activation"].to_numpy()
    in_corpus = largest[features[first]].astype(np.float64)
    normalised = values[first] / np.where(in_corpus > 0, in_corpus, 1)
    return pa.table({
        "feature": features[first].astype(np.int32),
        "normalised": pa.array(normalised, mask=in_corpus == 0),
        "activation": values[first],
        "position": position[first].astype(np.int32),
        "n_tokens": counts.astype(np.int32),
    })  # fmt: skip


def _numbers(tokens: Sequence[int]) -> str:
    return ", ".join(str(token) for token in tokens)
