"""One opened index: its provenance, its relations and its lookups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.errors import StoreError
from store.kept import KeptTables
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
class Window:
    """Some tokens of a context around a place.

    Attributes:
        document: name.
        start: position in the context of the window's first token; tokens, pieces, special: as in `Context`.
    """

    document: str
    start: int
    tokens: list[int]
    pieces: list[bytes]
    special: list[bool]


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

    @property
    def n_places(self) -> int:
        """Tokens of all contexts, special ones included."""
        return int(self.meta["n_contexts"]) * self.context_length

    def table(self, name: str) -> str:
        """A table's or view's full name in SQL."""
        return f"{quoted(self.alias)}.{quoted(name)}"

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of a query of our own."""
        return self.cursor().execute(sql, list(parameters)).fetchall()

    @cached_property
    def kept(self) -> KeptTables:
        """Its small tables, in memory as far as they are asked for."""
        return KeptTables(lambda sql: self.cursor().sql(sql).to_arrow_table(), self.table)

    @cached_property
    def promoted(self) -> Callable[[int], list[str]]:
        """By feature, the texts of the tokens whose logits it raises most, strongest first."""
        return lru_cache(maxsize=1 << 14)(lambda feature: self.kept.value("feature", feature, "promoted"))

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

    def windows(
        self, places: Sequence[int], before: int, after: int, known: Sequence[list[int] | None] | None = None
    ) -> list[Window]:
        """The text from `before` tokens before to `after` tokens after each place (context · context_length +
        position), within its context. `known`: tokens of these windows that are at hand.
        """
        length, plain = self.context_length, bool(self.meta["plain_text"])
        at_hand = known if known is not None and plain else [None] * len(places)
        sought = {place // length for place, tokens in zip(places, at_hand, strict=True) if tokens is None}
        contexts = self._contexts(sought, "tokens" if plain else "tokens, spans, source")
        vocabulary, special = self.vocabulary, self._special
        documents = self.documents_of(np.array(places, np.int64)).tolist()
        out = []
        for place, tokens, document in zip(places, at_hand, documents, strict=True):
            position = place % length
            start, stop = max(position - before, 0), min(position + after + 1, length)
            if plain:
                tokens = contexts[place // length][0][start:stop] if tokens is None else tokens
                pieces, hidden = [vocabulary[token] for token in tokens], [token in special for token in tokens]
            else:
                whole, spans, source = contexts[place // length]
                tokens, pieces = whole[start:stop], self.cut(whole, spans, source)[start:stop]
                hidden = [span < 0 for span in spans[start:stop]]
            out.append(Window(self.documents[document], start, tokens, pieces, hidden))
        return out

    def _contexts(self, numbers: set[int], columns: str) -> dict[int, tuple[Any, ...]]:
        """Some columns of some contexts, by number."""
        if not numbers:
            return {}
        wanted = ", ".join(map(str, sorted(numbers)))
        sql = f"SELECT context, {columns} FROM {self.table('context')} WHERE context IN ({wanted})"
        return {row[0]: row[1:] for row in self.rows(sql)}

    def byte_of(self, place: int) -> int:
        """Where in its document a token begins, in bytes."""
        begins, _, offsets = self._segments
        segment = int(np.searchsorted(begins, place, side="right")) - 1
        context, position = divmod(place, self.context_length)
        pieces = self.context(context).pieces[int(begins[segment]) % self.context_length : position]
        return int(offsets[segment]) + sum(map(len, pieces))

    @cached_property
    def _special(self) -> frozenset[int]:
        return frozenset(self.meta["special_tokens"])

    def documents_of(self, places: NDArray[np.int64]) -> NDArray[np.int32]:
        """Document number of each place."""
        begins, documents, _ = self._segments
        return documents[np.searchsorted(begins, places, side="right") - 1]

    @cached_property
    def _segments(self) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
        """Place, document and byte at which every run of a document begins, by place."""
        sql = f"SELECT context, position, document, byte FROM {self.table('segment')} ORDER BY context, position"
        found = self.cursor().execute(sql).fetchnumpy()
        place = np.asarray(found["context"]).astype(np.int64) * self.context_length + np.asarray(found["position"])
        return place, np.asarray(found["document"]), np.asarray(found["byte"])

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
        sql = f"""SELECT position, token, feature, value
                FROM (SELECT position, feature, value FROM {self.table("code")} WHERE context = {context:d})
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
