"""One opened index: its provenance, its relations and its lookups."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from store.errors import StoreError
from store.reading import quoted
from store.relation import Cursor, Relation, relation
from store.text import display_pieces


@dataclass(frozen=True)
class Context:
    """One whole context.

    Attributes:
        context: its number; tokens: token ids.
        pieces: source bytes of each token; of special tokens their name.
        special: which tokens the packing inserted.
    """

    context: int
    tokens: list[int]
    pieces: list[bytes]
    special: list[bool]

    @property
    def text(self) -> list[str]:
        """One string per token, for showing (see `store.text.display_pieces`)."""
        return display_pieces(self.pieces)


@dataclass(frozen=True)
class Index:
    """The features of one SAE on one corpus.

    Attributes:
        alias: the name under which `FeatureStore.sql` sees its tables.
        path: the read-only DuckDB file.
        meta: ids, counts, headline figures and, under "provenance", what it was made from.
    """

    alias: str
    path: Path
    meta: dict[str, Any]
    cursor: Cursor = field(repr=False)

    @property
    def id(self) -> str:
        """`<SAE id>.<corpus id>`."""
        return self.path.stem.rpartition(".")[0]

    @property
    def n_features(self) -> int:
        """Features of the SAE."""
        return int(self.meta["n_features"])

    @property
    def context_length(self) -> int:
        """Tokens per context."""
        return int(self.meta["context_length"])

    def table(self, name: str) -> str:
        """A table's or view's full name in SQL."""
        return f"{quoted(self.alias)}.{quoted(name)}"

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of a query of our own."""
        return self.cursor().execute(sql, list(parameters)).fetchall()

    @cached_property
    def vocabulary(self) -> list[bytes]:
        """Bytes of each token id; of special tokens their name."""
        return [row[0] for row in self.rows(f"SELECT bytes FROM {self.table('vocabulary')} ORDER BY token")]

    @cached_property
    def documents(self) -> list[str]:
        """Name of each document."""
        return [row[0] for row in self.rows(f"SELECT name FROM {self.table('document')} ORDER BY document")]

    @cached_property
    def features(self) -> Relation:
        """All features with their statistics, by number."""
        return relation(self.cursor, f"FROM {self.table('feature')}", f"features of {self.id}")

    def context(self, context: int) -> Context:
        """A whole context.

        Raises:
            StoreError: there is no such context.
        """
        self._check_context(context)
        found = self.rows(
            f"SELECT tokens, spans, source FROM {self.table('context')} WHERE context = ?::INTEGER", context
        )
        tokens, spans, source = found[0]
        return Context(context, tokens, self.cut(tokens, spans, source), [span < 0 for span in spans])

    def cut(self, tokens: list[int], spans: list[int], source: bytes) -> list[bytes]:
        """The bytes of each token; a span of -1 marks a special token, which has a name instead."""
        pieces, start = [], 0
        for token, span in zip(tokens, spans, strict=True):
            if span < 0:
                pieces.append(self.vocabulary[token])
            else:
                pieces.append(source[start : start + span])
                start += span
        return pieces

    def codes(self, context: int) -> Relation:
        """Every active feature of every token of a context: position, token, feature, value."""
        self._check_context(context)
        first, last = context * self.context_length, (context + 1) * self.context_length - 1
        f16 = f"{quoted(self.alias)}.f16"
        sql = f"""SELECT position, token, feature, {f16}(half) AS value
                FROM (SELECT (place - {first})::INTEGER AS position, unnest(features) AS feature, unnest(halves) AS half
                      FROM {self.table("by_token")} WHERE place BETWEEN {first} AND {last})
                JOIN (SELECT (generate_subscripts(tokens, 1) - 1)::INTEGER AS position, unnest(tokens) AS token
                      FROM {self.table("context")} WHERE context = {context:d}) USING (position)
                ORDER BY position, feature"""
        columns = ("position", "token", "feature", "value")
        return relation(self.cursor, sql, f"codes of context {context} of {self.id}", columns)

    def _check_context(self, context: int) -> None:
        if not 0 <= context < self.meta["n_contexts"]:
            raise StoreError(f"{self.id} has no context {context}; it has 0 to {self.meta['n_contexts'] - 1}")

    def __repr__(self) -> str:
        meta = self.meta
        made_from = ", ".join(
            f"{key}={value}" for key, value in meta["provenance"].items() if not isinstance(value, dict)
        )
        return (
            f"<Index {self.id} ({self.path.name}): {meta['n_features']:,} features, {meta['n_tokens']:,} tokens, "
            f"L0 {meta['l0']:.1f}, {meta['n_dead']:,} dead; {made_from[:300]}>"
        )
