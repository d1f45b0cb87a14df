"""The finaliser: staged parts → one read-only DuckDB file. Runs in a process of its own (`python -m store.build`)."""

import json
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from store import attribution, canonical, coactivation, negatives, statistics
from store.blocks import DecoderTables
from store.content import content_hash
from store.errors import StoreError, explained
from store.examples import BANDS
from store.files import sync
from store.memory import HELPER, MEMORY
from store.migrations import latest, migrations
from store.plain import text_of_tokens
from store.positions import AFTER, BEFORE, SAME_AFTER, SAME_BEFORE, Positions, map_positions
from store.projections import by_context, by_feature, recut
from store.reading import literal
from store.sorting import SortedCodes, open_codes, runs, sort_codes
from store.staging import DOCUMENTS, INPUTS, MANIFEST, Part, canonical_json, first_gap, lists, sweep
from store.tables import head_table, ranked
from store.work import Task, decoder_of, describe, die_with_parent, partners, taken, vocabulary_of
from store.workspace import split_index_id

STORAGE_VERSION = "v1.5.0"
ROW_GROUP = 491_520
"""Rows that DuckDB packs together. A packed column of its default 122,880 leaves a fifth of a block of 256 KiB empty;
of more, a look-up has to unpack more."""
LOOKED_UP = 20_480
"""The same where a look-up takes the few rows of one feature: it has only these to look through."""
_GROUPS_AT_ONCE, _INSERTS_AT_ONCE = 4, 8
"""Row groups per insertion, and insertions per transaction: few, for memory, but each leaves blocks half empty."""
_CODES_AT_ONCE = 1_000_000
_FEATURES_AT_ONCE = 1 << 12
_PAIRS_AT_ONCE = 1_000_000
_LEAST_OF_DUCKDB = 64 << 20
BUILDING = "building"


def build(staging: Path, destination: Path, index_id: str, memory: int = MEMORY) -> Path:
    """Sort what is staged into `destination/<index_id>.<hash>.duckdb` within `memory` bytes; returns its path.

    Raises:
        StoreError: a part is damaged, the disk is full, the tables do not match.
    """
    manifest = json.loads((staging / MANIFEST).read_text(encoding="utf-8"))
    parts = sweep(staging)
    if first_gap(parts) < parts[-1].stop:
        raise StoreError(f"contexts from {first_gap(parts)} on are missing in {staging}; run the same command again")
    documents: list[list[Any]] = json.loads((staging / DOCUMENTS).read_text(encoding="utf-8"))
    inputs = dict(np.load(staging / INPUTS, allow_pickle=False))
    n_places = parts[-1].stop * manifest["context_length"]
    scratch = staging / BUILDING
    shutil.rmtree(scratch, ignore_errors=True)
    with explained("cannot build the index in", scratch), _removed_on_failure(scratch):
        scratch.mkdir(parents=True)
        temporary = scratch / "index.duckdb"
        with _helpers(memory) as submit:
            sorting = submit(sort_codes, parts, n_places, manifest["n_latents"], memory // 4, scratch)
            content = content_hash(manifest, parts, documents, inputs | attribution.digest(staging))
            path = destination / f"{index_id}.{content[:12]}.duckdb"
            if path.exists():
                return path
            builder = _Builder(temporary, staging, manifest, index_id, memory, submit)
            builder.run(parts, documents, inputs, content, sorting)
        canonical.seal(temporary, bytes.fromhex(content)[:16])
        sync(temporary)
        destination.mkdir(parents=True, exist_ok=True)
        temporary.replace(path)
        sync(destination)
    return path


@contextmanager
def _removed_on_failure(folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


Submit = Callable[..., "Future[Any]"]


@contextmanager
def _helpers(memory: int) -> Iterator[Submit]:
    """Helper processes, as many as there are cores and memory for; they are there before DuckDB starts its threads."""
    n = max(min(os.cpu_count() or 1, memory // 2 // HELPER), 1)
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    pool = ProcessPoolExecutor(n, context, initializer=die_with_parent)
    try:
        pool.submit(os.getpid).result()
        yield pool.submit
    except BrokenProcessPool:
        raise StoreError("a helper process was killed, perhaps for want of memory; run the command again") from None
    finally:
        pool.shutdown(cancel_futures=True)


class _Builder:
    """Fills one new DuckDB file."""

    def __init__(
        self, path: Path, staging: Path, manifest: dict[str, Any], index_id: str, memory: int, submit: Submit
    ) -> None:
        self.manifest, self.index_id, self.memory, self.submit = manifest, index_id, memory, submit
        self.scratch, self.inputs = path.parent, staging / INPUTS
        self.length, self.n_latents = manifest["context_length"], manifest["n_latents"]
        limit, spill = f"{max(memory // 8, _LEAST_OF_DUCKDB)}B", str(self.scratch / "spill")
        self.connection = duckdb.connect(config={"threads": 1, "memory_limit": limit, "temp_directory": spill})
        self.connection.execute("SET enable_progress_bar = false")
        self.connection.execute("SET checkpoint_threshold = '1TB'")  # only when we say so
        self.path = path

    @contextmanager
    def _file(self, row_group: int) -> Iterator[None]:
        """The new file within a transaction, then a checkpoint."""
        options = f"STORAGE_VERSION '{STORAGE_VERSION}', ROW_GROUP_SIZE {row_group}"
        self.connection.execute(f"ATTACH {literal(str(self.path))} AS built ({options})")
        self.connection.execute("USE built")
        self.connection.execute("BEGIN")
        yield
        self.connection.execute("COMMIT")
        self.connection.execute("USE memory")
        self.connection.execute("CHECKPOINT built")
        self.connection.execute("DETACH built")

    def run(
        self,
        parts: list[Part],
        documents: list[list[Any]],
        inputs: dict[str, NDArray[Any]],
        content: str,
        sorting: "Future[None]",
    ) -> None:
        """All tables, those of codes first; `sorting` is over when the codes are sorted."""
        vocabulary, decoder = vocabulary_of(inputs), decoder_of(inputs)
        decoder.check(self.n_latents, len(vocabulary))
        positions = map_positions(parts, self.length, self.scratch)
        _check_references(positions, len(documents), len(vocabulary))
        ordinary = positions.ordinary()
        n_documents = len(np.unique(positions.documents_of(ordinary)))
        with self._file(ROW_GROUP):
            self._create(parts[-1].stop * self.length)
            self._insert_texts(parts, documents, vocabulary)
            sorting.result()
            task = Task(self.scratch, self.inputs, self.length, len(ordinary), n_documents)
            codes = open_codes(self.scratch)
            described, met = self._submit(task, codes)
            self._append("by_context", by_context(codes, self.n_latents, self.length), ROW_GROUP)
            self._append("by_feature", by_feature(codes), ROW_GROUP)
        with self._file(LOOKED_UP):
            self._insert_decoder(decoder)
            self._insert_attributions()
            headline = self._insert_features(described, met, codes, decoder)
            counts = {"n_tokens": len(ordinary), "n_documents": n_documents, "n_codes": int(codes.bounds[-1])}
            l0 = {"l0": counts["n_codes"] / max(len(ordinary), 1)}
            text = text_of_tokens(parts, positions, vocabulary)
            self._insert_meta(parts, content, {**counts, **headline, **l0, **text}, decoder)
        self.connection.close()

    def _create(self, n_places: int) -> None:
        sizes = {"context_length": self.length, "n_features": self.n_latents, "n_places": n_places}
        sql = migrations("index")[latest("index")]
        for name, value in sizes.items():
            sql = sql.replace(f"{{{name}}}", str(value))
        self.connection.execute(sql)

    def _insert(self, table: str, rows: pa.Table) -> None:
        self.connection.register("incoming", rows)
        self.connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming")
        self.connection.unregister("incoming")

    def _insert_texts(self, parts: list[Part], documents: list[list[Any]], vocabulary: list[bytes]) -> None:
        names, sizes, hashes = zip(*documents, strict=True)
        columns = {"name": names, "n_bytes": pa.array(sizes, pa.int64()), "sha256": hashes}
        self._insert("document", pa.table({"document": np.arange(len(names), dtype=np.int32), **columns}))
        tokens = np.arange(len(vocabulary), dtype=np.int32)
        self._insert("vocabulary", pa.table({"token": tokens, "bytes": pa.array(vocabulary, pa.binary())}))
        files = _files(part.contexts for part in parts)
        columns_sql = "context, tokens, spans, source"
        self.connection.execute(f"INSERT INTO context SELECT {columns_sql} FROM read_parquet({files}) ORDER BY context")
        self.connection.execute(
            f"""INSERT INTO segment SELECT context, s.position, s.document, s.byte
                FROM (SELECT context, unnest(segments) AS s FROM read_parquet({files})) ORDER BY context, s.position"""
        )

    def _append(self, table: str, pieces: Iterable[pa.Table], row_group: int) -> None:
        """Insert many rows, and commit whenever some whole row groups are full: what one transaction has added stays in
        memory, whatever the limit.
        """
        for number, rows in enumerate(recut(pieces, _GROUPS_AT_ONCE * row_group)):
            if number and number % _INSERTS_AT_ONCE == 0:
                self.connection.execute("COMMIT")
                self.connection.execute("BEGIN")
            self._insert(table, rows)

    def _submit(self, task: Task, codes: SortedCodes) -> tuple[list["Future[Any]"], list["Future[Any]"]]:
        """Have every run of features described, and their partners counted."""
        described = [
            self.submit(describe, task, first, n) for first, n in runs(codes.bounds, _CODES_AT_ONCE, _FEATURES_AT_ONCE)
        ]
        met = [
            self.submit(partners, task, first, n) for first, n in runs(codes.bounds, _PAIRS_AT_ONCE, _FEATURES_AT_ONCE)
        ]
        return described, met

    def _insert_features(
        self,
        described: list["Future[Any]"],
        met: list["Future[Any]"],
        codes: SortedCodes,
        decoder: DecoderTables,
    ) -> dict[str, int]:
        """Statistics, histograms, examples, co-activation and negatives, in order; returns headline figures."""
        done = [future.result() for future in described]
        features = pa.concat_tables(taken(files["feature"]) for files in done)
        self._append("feature", [features], LOOKED_UP)
        self._append("histogram", (taken(files["histogram"]) for files in done), LOOKED_UP)
        self._append("example", (taken(files["example"]) for files in done), LOOKED_UP)
        found = [future.result()["coactive"] for future in met]
        self._append("coactive", map(taken, found), LOOKED_UP)
        n = self.n_latents
        near = [decoder.neighbours.astype(np.int64), negatives.by_jaccard(map(taken, found), n)]
        tops = negatives.tops((taken(files["example"]) for files in done), n)
        self._insert(
            "negative",
            negatives.negative_table(codes, negatives.neighbours_in_turn(near, n), *tops, self.length),
        )
        flags = ("dead", "dense", "duplicate", "position_locked", "bos_only")
        return {f"n_{flag}": int(np.count_nonzero(features[flag].to_numpy())) for flag in flags}

    def _insert_decoder(self, decoder: DecoderTables) -> None:
        near = ranked(decoder.neighbours)
        near |= {"neighbour": decoder.neighbours.ravel(), "cosine": decoder.neighbour_cosine.ravel()}
        self._insert("neighbour", pa.table(near))
        both = [(1, decoder.promoted, decoder.promoted_logit), (-1, decoder.suppressed, decoder.suppressed_logit)]
        rows = [{**ranked(ids), "sign": np.full(ids.size, sign, np.int16)} for sign, ids, _ in both]
        logits = {name: np.concatenate([part[name] for part in rows]) for name in rows[0]}
        logits["token"] = np.concatenate([ids.ravel() for _, ids, _ in both])
        logits["logit"] = np.concatenate([values.ravel() for *_, values in both])
        order = np.lexsort((logits["rank"], -logits["sign"], logits["feature"]))
        order = order[logits["token"][order] >= 0]
        self._insert("logit", pa.table({name: column[order] for name, column in logits.items()}))
        self._insert("head", head_table(decoder.head_share))
        counts = decoder.logit_histogram
        bins = lists(counts.astype(np.int32).ravel(), np.arange(len(counts) + 1) * counts.shape[1])
        self._insert("logit_histogram", pa.table({"feature": np.arange(len(counts), dtype=np.int32), "counts": bins}))

    def _insert_attributions(self) -> None:
        if files := attribution.staged_files(self.inputs.parent):
            source = f"SELECT * FROM read_parquet({_files(iter(files))})"
            self.connection.execute(f"INSERT INTO attribution BY NAME {source} ORDER BY feature, rank")

    def _insert_meta(self, parts: list[Part], content: str, headline: dict[str, Any], decoder: DecoderTables) -> None:
        sae_id, corpus_id = split_index_id(self.index_id)
        meta: dict[str, Any] = {
            "schema_version": latest("index"),
            "index_id": self.index_id,
            "sae_id": sae_id,
            "corpus_id": corpus_id,
            "content_hash": content,
            "n_features": self.n_latents,
            "context_length": self.length,
            "n_contexts": parts[-1].stop,
            **headline,
            "quantiles": [p / 1000 for p in statistics.QUANTILES],
            "bands": [p / 1000 for p in BANDS],
            "window": [BEFORE, AFTER],
            "same_text_tokens": [SAME_BEFORE, SAME_AFTER],
            "partners": {"kept": coactivation.PARTNERS, "pmi_least_tokens": coactivation.MIN_TOGETHER},
            "logit_histogram_edges": [float(edge) for edge in decoder.logit_histogram_edges],
            "provenance": self.manifest["provenance"],
        }
        rows = {"key": list(meta), "value": [canonical_json(value) for value in meta.values()]}
        self._insert("meta", pa.table(rows))


def _check_references(positions: Positions, n_documents: int, n_tokens: int) -> None:
    if positions.tokens.min() < 0 or positions.tokens.max() >= n_tokens:
        raise StoreError(f"the corpus has token ids outside the vocabulary of {n_tokens}; it is another tokenizer's")
    if len(positions.segment_documents) and positions.segment_documents.max() >= n_documents:
        raise StoreError(f"contexts name document {positions.segment_documents.max()}, but there are {n_documents}")


def _files(paths: Iterator[Path]) -> str:
    return "[" + ", ".join(literal(str(path)) for path in paths) + "]"


def main() -> int:
    """Build one index; the path on standard output, or one line on standard error and exit code 3."""
    die_with_parent()
    staging, destination, index_id, memory = sys.argv[1:]
    try:
        print(build(Path(staging), Path(destination), index_id, int(memory)))
    except StoreError as error:
        print(error, file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # at once: what libraries remark while the interpreter is taken down would follow the error's line
