"""The way into a workspace's features."""

from __future__ import annotations

import getpass
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from store.annotations import Annotations
from store.attached import Attached, fits
from store.catalog import Catalog
from store.compare import THRESHOLD, Comparison, check_same_text, codes_of, decoder
from store.comparisons import comparison_folder, read_comparison, write_comparison
from store.counterparts import compared
from store.described import COLUMNS, described
from store.errors import StoreError
from store.feature import Feature
from store.firing import Firings, firings_of
from store.index import Context, Index
from store.mirror import TABLES, Mirror
from store.reading import literal, quoted
from store.relation import Cursor, Relation, relation
from store.remarks import Boards, Remarks, Said
from store.revision import catalog_revision
from store.search import activity, by_logit, by_text, by_token, joined
from store.workspace import split_index_id

_ANNOTATED = re.compile(rf"\b({'|'.join(TABLES)})\b", re.IGNORECASE)


class FeatureStore:
    """Reads the feature indexes of a workspace; safe to share between threads.

    Finished indexes are picked up while it is open. Where a method takes `sae` and `corpus`, they may be left out as
    long as only one index fits.
    """

    def __init__(self, workspace: Path, threads: int | None, memory_limit: str) -> None:
        self.workspace = workspace
        self._attached = Attached(workspace, threads, memory_limit)
        self._cursor = self._attached.cursor
        self._entries: dict[str, tuple[object, list[dict[str, Any]]]] = {}
        self._mirror = Mirror(self._attached.connection, workspace)
        self._boards = Boards(self._cursor, self._mirror)

    @classmethod
    def open(cls, workspace: str | Path, threads: int | None = None, memory_limit: str = "2GB") -> FeatureStore:
        """Open a workspace for reading; use as a context manager, or call `close`.

        Args:
            workspace: the folder with `indexes/` in it.
            threads: of DuckDB for one query; all cores by default, 1 is best under many small requests.
            memory_limit: of DuckDB; a query that needs more fails.

        Raises:
            StoreError: there is no such folder.
        """
        path = Path(workspace)
        if not path.is_dir():
            raise StoreError(f"there is no workspace {path}; make one with `saebench demo --workspace {path}`")
        return cls(path, threads, memory_limit)

    def close(self) -> None:
        """Release the files. Relations of this store cannot be fetched afterwards."""
        self._attached.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def saes(self) -> list[dict[str, Any]]:
        """What is known of each SAE, by id: its entry in the catalogue, and under "indexes" its indexes' figures."""
        indexes: dict[str, list[dict[str, Any]]] = {}
        for figures in self.indexes():
            indexes.setdefault(figures["sae_id"], []).append(figures)
        entries = {id: {"id": id} for id in indexes}
        for entry in self._catalogued("sae"):
            entries[entry["id"]] = entry
        return [{**entry, "indexes": indexes.get(id, [])} for id, entry in sorted(entries.items())]

    def indexes(self) -> list[dict[str, Any]]:
        """Headline figures and provenance of every finished index, by id; "alias" is its name in `sql`."""
        return [_figures(index) for index in self._attached.all()]

    def index(self, sae: str | None = None, corpus: str | None = None) -> Index:
        """One index.

        Raises:
            StoreError: none fits, or several (the message lists them), or the SAE was trained anew since.
        """
        return self._attached.one(sae, corpus)

    def features(self, sae: str | None = None, corpus: str | None = None) -> Relation:
        """All features of an SAE with their statistics (see `Stats` for the columns) and, last, people's `label`."""
        index = self.index(sae, corpus)
        return relation(self._cursor, *self._labelled(index))

    def described(self, sae: str | None = None, corpus: str | None = None) -> Relation:
        """The columns of `features`, and beside them `explanation` and `explanation_score` (the best of the feature, or
        NULL), `nearest` and `nearest_cosine` (the feature whose decoder row is nearest).
        """
        return relation(self._cursor, *self._described(self.index(sae, corpus)))

    def search(
        self,
        sae: str | None = None,
        corpus: str | None = None,
        *,
        text: str | None = None,
        token: str | Sequence[str] | None = None,
        promoted: str | Sequence[str] | None = None,
        suppressed: str | Sequence[str] | None = None,
        where: str | None = None,
    ) -> Relation:
        """Features that meet every condition given, best first: by the first of the conditions in this order.

        Args:
            sae, corpus: which index.
            text: words that must all occur in a feature's label or in one explanation of it, in any case. Columns:
                `said` (the label, or else the best-scored explanation), `score`, `labelled`. Labels come first.
            token: exact text of a token, or several; features active on one of them. Columns: `token_share`, the
                share of its summed activation that the feature spends there, and `token_count` (tokens).
            promoted: features that keep such a token among those whose logits they raise most. Column: `promotes`
                (logit per unit of activation).
            suppressed: the same for those lowered most. Column: `suppresses`.
            where: an SQL condition over the columns of `described`, which follow those found by.

        Raises:
            StoreError: nothing to search for, no such token (names those that are near), or a bad condition.
        """
        index = self.index(sae, corpus)
        criteria = []
        if text is not None:
            criteria.append(by_text(split_index_id(index.id)[0], text))
        if token is not None:
            criteria.append(by_token(index, token))
        if promoted is not None:
            criteria.append(by_logit(index, promoted, 1))
        if suppressed is not None:
            criteria.append(by_logit(index, suppressed, -1))
        if not criteria and where is None:
            raise StoreError("say what to search for: text=, token=, promoted=, suppressed= or where=")
        source, title, columns = self._described(index)
        query, columns = joined(source, columns, criteria)
        found = relation(self._cursor, query, f"search in {title}", columns)
        if where is not None:
            found = found.filter(where)
        return found.order(", ".join([*(c.order for c in criteria), "max_activation DESC", "feature"]))

    def strongest(
        self,
        offsets: NDArray[np.integer],
        features: NDArray[np.integer],
        values: NDArray[np.floating],
        sae: str | None = None,
        corpus: str | None = None,
    ) -> Relation:
        """The features active in a text of T tokens, given the codes that the SAE gives the text, strongest first.

        Args:
            offsets: [T + 1]; token t has the codes offsets[t] to offsets[t + 1] - 1.
            features: [codes], feature numbers.
            values: [codes], activations.
            sae, corpus: the index they are looked up in.

        Returns:
            `feature`, `normalised` (its largest activation in the text as a share of its largest in the corpus, by
            which they are sorted; NULL, last, if it is never active there), `activation`, `position` (the first token
            that has it), `n_tokens` (on how many it is active), then the columns of `features`.

        Raises:
            StoreError: the arrays do not fit together or are not of this SAE.
        """
        index = self.index(sae, corpus)
        table = activity(index, offsets, features, values)
        return self._beside(index, table).order("normalised DESC NULLS LAST, activation DESC, feature")

    def feature(self, sae: str | None, feature: int, corpus: str | None = None) -> Feature:
        """One feature of an SAE.

        Raises:
            StoreError: there is no such feature or index.
        """
        return Feature(self.index(sae, corpus), feature)

    def firings(
        self,
        sae: str | None = None,
        corpus: str | None = None,
        *,
        documents: Sequence[str] | None = None,
        without: Sequence[str] = (),
        squares: bool = False,
    ) -> Firings:
        """How often every feature fires, over an index or over some of its documents.

        Args:
            sae, corpus: which index.
            documents: patterns of names, such as "tkinter*" (`fnmatch`); documents that fit one are counted. None: all.
            without: patterns of the names of documents that are not counted.
            squares: also sum the squared activations.

        Raises:
            StoreError: no document is left.
        """
        return firings_of(self.index(sae, corpus), documents, without, squares)

    def codes(self, context: int, sae: str | None = None, corpus: str | None = None) -> Relation:
        """Every active feature of every token of a context: position, token (id), feature, value."""
        return self.index(sae, corpus).codes(context)

    def context(self, context: int, sae: str | None = None, corpus: str | None = None) -> Context:
        """The tokens and the text of a context."""
        return self.index(sae, corpus).context(context)

    @property
    def stale(self) -> bool:
        """Whether the catalogue has changed since it was last read, so that the next question about what is said of
        features will open it, and wait while another process does.
        """
        return self._mirror.stale

    def refresh(self) -> None:
        """Read the catalogue now, if it has changed.

        Raises:
            StoreError: it is damaged, newer than this code, or in use for longer than can be waited for.
        """
        self._mirror.refresh()

    def remarks(self, sae: str, feature: int) -> Remarks:
        """Everything said of a feature: its label, notes, explanations, and the lists it is on."""
        return self._boards.remarks(sae, feature)

    def said(self, sae: str, features: Collection[int]) -> dict[int, Said]:
        """What features are called, those that have a label or an explanation: the label or else the best of these."""
        return self._boards.said(sae, features)

    def list_names(self) -> list[str]:
        """The names of all lists of features, sorted."""
        return self._boards.list_names()

    def labels(self, sae: str | None = None) -> Relation:
        """People's names of features: sae, feature, label, author, made_at (UTC); of one SAE or of all."""
        return self._annotated("label", sae, "sae, feature")

    def notes(self, sae: str | None = None) -> Relation:
        """Notes: sae, feature (NULL: on the SAE as a whole), note, author, made_at (UTC); oldest first."""
        return self._annotated("note", sae, "made_at")

    def explanations(self, sae: str | None = None) -> Relation:
        """Explanations: sae, corpus, feature, method, version, text, score, scorer, split, made_at (UTC), info (JSON);
        by feature, best score first.
        """
        return self._annotated("explanation", sae, "sae, feature, score DESC NULLS LAST, method, version")

    def lists(self) -> Relation:
        """Lists of features by name: list, description, author, made_at (UTC), n_features."""
        self._mirror.refresh()
        counts = "SELECT list, count(*) AS n_features FROM memory.main.listed GROUP BY list"
        source = f"""SELECT feature_list.*, coalesce(n_features, 0) AS n_features
                     FROM memory.main.feature_list LEFT JOIN ({counts}) USING (list)"""
        return relation(self._cursor, source, "lists").order("list")

    def listed(self, name: str | None = None) -> Relation:
        """Features on a list, or on every list: list, sae, feature, author, made_at (UTC); in the order of adding."""
        self._mirror.refresh()
        where = "" if name is None else f" WHERE list = {literal(name)}"
        source = f"SELECT *, row_number() OVER (ORDER BY list, made_at, rowid) AS place FROM memory.main.listed{where}"
        title = "all lists" if name is None else f"list {name!r}"
        ordered = relation(self._cursor, source, title).order("place")
        return ordered.select("list", "sae", "feature", "author", "made_at")

    def label(self, sae: str | None, feature: int, text: str, author: str | None = None) -> None:
        """Name a feature, instead of the name it has. The author is you unless you say who.

        Raises:
            StoreError: there is no such feature, or the text is empty or has several lines.
        """
        Annotations(self.workspace).set_label(self._sae_of(sae, feature), feature, text, author or getpass.getuser())

    def note(self, sae: str | None, feature: int | None, text: str, author: str | None = None) -> None:
        """Add a note on a feature, or with None on the SAE as a whole. The author is you unless you say who.

        Raises:
            StoreError: there is no such feature, or the text is empty.
        """
        Annotations(self.workspace).add_note(self._sae_of(sae, feature), feature, text, author or getpass.getuser())

    def add_to_list(self, name: str, sae: str | None, feature: int, author: str | None = None) -> None:
        """Put a feature at the end of a list, unless it is on it; the list is made if there is none of that name. The
        author is you unless you say who.

        Raises:
            StoreError: there is no such feature, or no list can have that name.
        """
        Annotations(self.workspace).add_to_list(name, self._sae_of(sae, feature), feature, author or getpass.getuser())

    def sql(self, query: str, sae: str | None = None, corpus: str | None = None) -> Relation:
        """Any query over the attached indexes, read-only.

        Tables of an index go by their bare names if it is the only one that fits `sae` and `corpus`; those of all
        indexes by `<alias>.<table>` (aliases: see `indexes`). What people and explainers say is in `memory.label`,
        `memory.note`, `memory.explanation`, `memory.feature_list` and `memory.listed`, as it is when `sql` is called.

        Raises:
            StoreError: the query is wrong.
        """
        if _ANNOTATED.search(query):
            self._mirror.refresh()
        self.attachments()
        default = self.default_alias(sae, corpus)

        def cursor() -> duckdb.DuckDBPyConnection:
            new = self._cursor()
            if default is not None:
                new.execute(f"USE {quoted(default)}")
            return new

        return relation(cursor, query.strip().rstrip(";"), "query")

    def attachments(self) -> dict[str, str]:
        """The files of all indexes by their alias in `sql`.

        Raises:
            StoreError: one cannot be read.
        """
        return {index.alias: str(index.path) for index in self._attached.all()}

    def default_alias(self, sae: str | None = None, corpus: str | None = None) -> str | None:
        """Of the index whose tables go by their bare names in `sql`: the only one that fits, if there is just one."""
        fitting = self._attached.fitting(sae, corpus)
        return fitting[0].alias if len(fitting) == 1 else None

    def annotated(self, table: str) -> Relation:
        """All rows of one of the tables that `sql` knows as `memory.<table>`, as they are now.

        Raises:
            StoreError: there is no such table.
        """
        if table not in TABLES:
            raise StoreError(f"there is no table memory.{table}; there are: {', '.join(TABLES)}")
        self._mirror.refresh()
        return relation(self._cursor, f"FROM memory.main.{table}", table)

    def columns(self) -> dict[str, list[tuple[str, str]]]:
        """(name, type) of the columns of each table that `sql` knows: an index's by their bare names, the others as
        `memory.<table>`.
        """
        alias = next(iter(self.attachments()), None)
        own = ", ".join(literal(name) for name in TABLES)
        sql = f"""SELECT if(database_name = 'memory', 'memory.', '') || table_name, column_name, data_type
                  FROM duckdb_columns() WHERE NOT internal AND schema_name = 'main' AND (database_name = $alias
                  OR (database_name = 'memory' AND table_name IN ({own}))) ORDER BY database_name = 'memory', table_oid,
                  column_index"""
        found: dict[str, list[tuple[str, str]]] = {}
        for table, column, kind in self._cursor().execute(sql, {"alias": alias}).fetchall():
            found.setdefault(table, []).append((column, kind))
        return found

    def compare(self, sae_a: str, sae_b: str, corpus: str | None = None, threshold: float = THRESHOLD) -> Comparison:
        """Which features of one SAE are in another, which appeared, split, merged and vanished (`store.compare` says
        what the words mean), by decoder cosine and by use on the same tokens.

        Args:
            sae_a, sae_b: two SAEs indexed on the same corpus, whose inputs have the same width.
            corpus: which, if there are several.
            threshold: from which decoder cosine on two features are kin.

        Raises:
            StoreError: an index or the weights are missing, or the two cannot be compared.
        """
        a, b = self.index(sae_a, corpus), self.index(sae_b, corpus)
        return self._comparison(a, b, threshold, self._compared(a, b, threshold, lambda _: None))

    def keep_comparison(
        self, sae_a: str, sae_b: str, corpus: str | None = None, on_progress: Callable[[int], None] = lambda _: None
    ) -> Comparison:
        """`compare`, and keep what it finds in the workspace. `on_progress` is told how many features of the first SAE
        are done.

        Raises:
            StoreError: as for `compare`, or it cannot be written.
        """
        a, b = self.index(sae_a, corpus), self.index(sae_b, corpus)
        tables = self._compared(a, b, THRESHOLD, on_progress)
        write_comparison(comparison_folder(self.workspace, a, b, THRESHOLD), tables)
        return self._comparison(a, b, THRESHOLD, tables)

    def kept_comparison(self, sae_a: str, sae_b: str, corpus: str | None = None) -> Comparison | None:
        """What `keep_comparison` kept of these two SAEs as they are indexed now; None if it did not.

        Raises:
            StoreError: an index is missing, or what was kept cannot be read.
        """
        a, b = self.index(sae_a, corpus), self.index(sae_b, corpus)
        tables = read_comparison(comparison_folder(self.workspace, a, b, THRESHOLD))
        return None if tables is None else self._comparison(a, b, THRESHOLD, tables)

    def _compared(
        self, a: Index, b: Index, threshold: float, on_progress: Callable[[int], None]
    ) -> tuple[pa.Table, ...]:
        check_same_text(a, b)
        rows_a, rows_b = decoder(self.workspace, a), decoder(self.workspace, b)
        if rows_a.shape[1] != rows_b.shape[1]:
            raise StoreError(
                f"{a.id} and {b.id} cannot be compared: inputs of width {rows_a.shape[1]} and {rows_b.shape[1]}"
            )
        return compared(rows_a, rows_b, codes_of(a), codes_of(b), a.n_places, threshold, on_progress)

    def _comparison(self, a: Index, b: Index, threshold: float, tables: tuple[pa.Table, ...]) -> Comparison:
        (sae_a, corpus), (sae_b, _) = split_index_id(a.id), split_index_id(b.id)
        side_a, side_b = (self._beside(index, table) for index, table in zip((a, b), tables, strict=False))
        pairs = relation(self._with(tables[2]), "FROM given", "pairs", tables[2].column_names)
        return Comparison(sae_a, sae_b, corpus, threshold, side_a, side_b, pairs)

    def _with(self, table: pa.Table) -> Cursor:
        """Cursors that see an Arrow table under the name `given`."""

        def cursor() -> duckdb.DuckDBPyConnection:
            new = self._cursor()
            new.register("given", table)
            return new

        return cursor

    def _beside(self, index: Index, table: pa.Table) -> Relation:
        """The columns of an Arrow table (first: `feature`), and beside them those of `features`."""
        source, title, columns = self._labelled(index)
        rest = ", ".join(f"f.{quoted(column)}" for column in columns[1:])
        query = f"SELECT given.*, {rest} FROM given JOIN (\n{source}\n) AS f USING (feature)"
        return relation(self._with(table), query, title, (*table.column_names, *columns[1:])).order("feature")

    def _labelled(self, index: Index) -> tuple[str, str, tuple[str, ...]]:
        """The query for all features with their labels as they are now, a title, and the columns.

        Joining takes a millisecond or two; an SAE without labels is spared it.
        """
        self._mirror.refresh()
        labels = f"SELECT feature, label FROM memory.main.label WHERE sae = {literal(split_index_id(index.id)[0])}"
        if index.rows(f"{labels} LIMIT 1"):
            source = f"SELECT f.*, l.label FROM {index.table('feature')} AS f LEFT JOIN ({labels}) AS l USING (feature)"
        else:
            source = f"SELECT *, NULL::VARCHAR AS label FROM {index.table('feature')}"
        return source, f"features of {index.id}", (*index.features.columns, "label")

    def _described(self, index: Index) -> tuple[str, str, tuple[str, ...]]:
        """The same with explanations and the nearest feature."""
        source, title, columns = self._labelled(index)
        return described(index, split_index_id(index.id)[0], source), title, (*columns, *COLUMNS)

    def _sae_of(self, sae: str | None, feature: int | None) -> str:
        """The SAE of that id, or the only one indexed, if it has such a feature; its corpora do not matter."""
        ids = [id for id in self._attached.files() if fits(id, sae, None)]
        corpus = split_index_id(ids[0])[1] if len({split_index_id(id)[0] for id in ids}) == 1 else None
        index = self.index(sae, corpus)
        if feature is not None:
            Feature(index, feature)
        return split_index_id(index.id)[0]

    def _annotated(self, table: str, sae: str | None, order: str) -> Relation:
        """The rows of a table of annotations as they are now."""
        self._mirror.refresh()
        where = "" if sae is None else f" WHERE sae = {literal(sae)}"
        return relation(self._cursor, f"FROM memory.main.{table}{where}", f"{table}s of {sae or 'all SAEs'}").order(
            order
        )

    def _catalogued(self, kind: str) -> list[dict[str, Any]]:
        """Entries of the catalogue, read again when it has changed: opening it costs some 20 ms."""
        stamp = catalog_revision(self.workspace)
        if stamp is None:
            return []
        known = self._entries.get(kind)
        if known is None or known[0] != stamp:
            known = self._entries[kind] = (stamp, Catalog(self.workspace).all(kind))
        return known[1]

    def __repr__(self) -> str:
        return f"<FeatureStore {self.workspace}: {', '.join(self._attached.files()) or 'no index'}>"


def _figures(index: Index) -> dict[str, Any]:
    sae_id, corpus_id = split_index_id(index.id)
    names = {"id": index.id, "sae_id": sae_id, "corpus_id": corpus_id, "alias": index.alias, "path": str(index.path)}
    return {**index.meta, **names}
