"""Short names of columns, as people type them into a filter, and what each column means.

Decisions:
- A short name is put in place of a column's name by DuckDB's own tokenizer: texts in quotes, quoted names, comments,
  functions (`max(q)`) and fields (`x.max`) are left as they are.
- Relations know only full names: a query in a notebook means what it says. What people type goes through `full_names`.
"""

from itertools import pairwise
from typing import NamedTuple

import duckdb


class Name(NamedTuple):
    """A column that can be filtered and sorted by."""

    column: str
    short: str | None
    """What may be typed instead."""
    meaning: str
    """In a few words, with the unit."""


NAMES = (
    Name("feature", None, "number of the feature"),
    Name("density", None, "share of tokens it fires on"),
    Name("max_activation", "max", "largest activation"),
    Name("mean", None, "mean activation where it fires"),
    Name("n_active", "n", "tokens it fires on"),
    Name("documents_share", "docs", "share of documents it fires in"),
    Name("n_documents", "n_docs", "documents it fires in"),
    Name("top_token", "token", "token that carries most of its activation"),
    Name("top_token_share", "token_share", "how much of its activation that token carries"),
    Name("decoder_norm", "norm", "norm of its decoder direction"),
    Name("encoder_decoder_cosine", "cosine", "between its encoder and decoder direction"),
    Name("label", None, "what people call it"),
    Name("explanation", None, "best explanation of it"),
    Name("explanation_score", "score", "score of that explanation"),
    Name("nearest", None, "feature whose decoder direction is nearest"),
    Name("nearest_cosine", None, "decoder cosine with that feature"),
    Name("dead", None, "never fires"),
    Name("dense", None, "fires on more than 10% of tokens"),
    Name("duplicate", None, "another decoder direction has cosine > 0.9"),
    Name("position_locked", "locked", "half of its tokens are at one position"),
    Name("bos_only", "bos", "fires only on first tokens"),
    Name("promoted", None, "list of the tokens whose logits it raises most"),
    Name("suppressed", None, "list of the tokens whose logits it lowers most"),
    Name("q", None, "list of quantiles .05 .25 .50 .75 .95 .99 of its activations"),
)
"""Columns of `FeatureStore.described`, those most asked for first."""

_WORDS = (duckdb.token_type.identifier, duckdb.token_type.keyword)
"""DuckDB counts words among keywords that mean something to it elsewhere, such as `locked`."""

SHORT = {name.short: name.column for name in NAMES if name.short}
"""Column by short name."""


def full_names(expression: str) -> str:
    """An SQL expression with columns in place of their short names, whatever their case."""
    data = expression.encode("utf-8", errors="replace")
    tokens = [*duckdb.tokenize(data.decode()), (len(data), None)]
    out, copied = [], 0
    for (start, kind), (end, following) in pairwise(tokens):
        word = data[start:end].rstrip()
        column = SHORT.get(word.decode().lower()) if kind in _WORDS else None
        called = following == duckdb.token_type.operator and data[end : end + 1] == b"("
        field = data[:start].rstrip().endswith(b".")
        if column and not called and not field:
            out += [data[copied:start], column.encode()]
            copied = start + len(word)
    return b"".join([*out, data[copied:]]).decode()
