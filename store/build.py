"""The finaliser: staged parts → one read-only DuckDB file. Runs in a process of its own (`python -m store.build`)."""

import ctypes
import json
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from store import canonical, statistics
from store.blocks import DecoderTables
from store.content import content_hash
from store.errors import StoreError, explained
from store.examples import BANDS, choose, example_table
from store.files import sync
from store.migrations import latest, migrations
from store.positions import SAME_AFTER, SAME_BEFORE, Positions, map_positions
from store.staging import DOCUMENTS, INPUTS, MANIFEST, Part, canonical_json, lists, read, sweep
from store.tables import feature_tables, ranked
from store.text import readable
from store.workspace import split_index_id

STORAGE_VERSION = "v1.5.0"
_MEMORY = "2GB"
_CODES_AT_ONCE = 2_000_000
_FEATURES_AT_ONCE = 1 << 16
BUILDING = "building"
_PR_SET_PDEATHSIG = 1


def build(staging: Path, destination: Path, index_id: str) -> Path:
    """Sort what is staged into `destination/<index_id>.<hash>.duckdb`; returns its path.

    Raises:
        StoreError: a part is damaged, the disk is full, the tables do not match.
    """
    manifest = json.loads((staging / MANIFEST).read_text(encoding="utf-8"))
    parts = sweep(staging)
    documents: list[list[Any]] = json.loads((staging / DOCUMENTS).read_text(encoding="utf-8"))
    inputs = dict(np.load(staging / INPUTS, allow_pickle=False))
    content = content_hash(manifest, parts, documents, inputs)
    path = destination / f"{index_id}.{content[:12]}.duckdb"
    if path.exists():
        return path
    scratch = staging / BUILDING
    shutil.rmtree(scratch, ignore_errors=True)
    with explained("cannot build the index in", scratch), _removed_on_failure(scratch):
        scratch.mkdir(parents=True)
        temporary = scratch / "index.duckdb"
        _Builder(temporary, scratch, manifest, index_id).run(parts, documents, inputs, content)
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


class _Builder:
    """Fills one new DuckDB file."""

    def __init__(self, path: Path, scratch: Path, manifest: dict[str, Any], index_id: str) -> None:
        self.manifest, self.index_id, self.scratch = manifest, index_id, scratch
        self.length, self.n_latents = manifest["context_length"], manifest["n_latents"]
        spill = str(scratch / "spill")
        self.connection = duckdb.connect(config={"threads": 1, "memory_limit": _MEMORY, "temp_directory": spill})
        self.connection.execute(f"ATTACH {_quoted(str(path))} AS built (STORAGE_VERSION '{STORAGE_VERSION}')")
        self.connection.execute("USE built")

    def _table(self, sql: str) -> pa.Table:
        return self.connection.sql(sql).to_arrow_table()

    def run(self, parts: list[Part], documents: list[list[Any]], inputs: dict[str, NDArray[Any]], content: str) -> None:
        """All tables in one transaction, then a checkpoint."""
        vocabulary = _vocabulary(inputs)
        decoder = DecoderTables(**{f.name: inputs[f.name] for f in fields(DecoderTables)})
        decoder.check(self.n_latents, len(vocabulary))
        self.connection.execute("BEGIN")
        for sql in migrations("index"):
            self.connection.execute(sql.replace("{context_length}", str(self.length)))
        positions = map_positions(parts, self.length, self.scratch)
        _check_references(positions, len(documents), len(vocabulary))
        self._insert_texts(parts, documents, vocabulary)
        n_codes = self._insert_codes(parts)
        headline = self._insert_features(positions, vocabulary, decoder)
        self._insert_decoder(decoder)
        self._insert_meta(parts, content, {**headline, "n_codes": n_codes}, decoder)
        self.connection.execute("COMMIT")
        self.connection.execute("USE memory")
        self.connection.execute("CHECKPOINT built")
        self.connection.execute("DETACH built")
        self.connection.close()

    def _insert(self, table: str, rows: pa.Table | pa.RecordBatchReader) -> None:
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

    def _insert_codes(self, parts: list[Part]) -> int:
        files = _files(part.codes for part in parts)
        self.connection.execute(
            f"INSERT INTO by_feature SELECT feature, place, half FROM read_parquet({files}) ORDER BY feature, place"
        )
        for part in parts:
            codes = read(part.codes)
            places = codes["place"].to_numpy()
            start = np.flatnonzero(np.diff(places, prepend=-1))
            place, offsets = places[start], np.append(start, len(codes))
            features, halves = (lists(codes[name].to_numpy(), offsets) for name in ("feature", "half"))
            self._insert("by_token", pa.table({"place": place, "features": features, "halves": halves}))
        return int(self.connection.execute("SELECT count(*) FROM by_feature").fetchall()[0][0])

    def _insert_features(
        self, positions: Positions, vocabulary: list[bytes], decoder: DecoderTables
    ) -> dict[str, int | float]:
        """Statistics, histograms and examples, a few features at a time; returns headline figures."""
        ordinary = positions.ordinary()
        n_documents = len(np.unique(positions.documents_of(ordinary)))
        text = np.array([readable(piece) for piece in vocabulary] + [None], dtype=object)
        tables: dict[str, list[pa.Table]] = {"feature": [], "histogram": []}
        for codes in self._runs():
            found, histogram = feature_tables(codes, positions, len(ordinary), n_documents, text, decoder)
            tables["feature"].append(found)
            tables["histogram"].append(histogram)
            self._insert("example", example_table(codes, choose(codes, positions), positions))
        for table, pieces in tables.items():
            self._insert(table, pa.concat_tables(pieces))
        n_active = pa.concat_tables(tables["feature"])["n_active"].to_numpy()
        return {
            "n_tokens": len(ordinary),
            "n_documents": n_documents,
            "n_dead": int((n_active == 0).sum()),
            "l0": float(n_active.sum() / max(len(ordinary), 1)),
        }

    def _runs(self) -> Iterator[statistics.Codes]:
        """Consecutive features whose codes fit into memory together."""
        rows = self._table("SELECT feature, count(*) AS n FROM by_feature GROUP BY feature")
        counts = np.zeros(self.n_latents, np.int64)
        counts[rows["feature"].to_numpy()] = rows["n"].to_numpy()
        first = 0
        while first < self.n_latents:
            fitting = np.cumsum(counts[first : first + _FEATURES_AT_ONCE]) <= _CODES_AT_ONCE
            n = max(int(fitting.sum()), 1)
            within = f"feature >= {first} AND feature < {first + n}"
            columns = self._table(f"FROM by_feature WHERE {within} ORDER BY feature, place")
            feature, place, half = (columns[name].to_numpy() for name in ("feature", "place", "half"))
            yield statistics.gather(first, n, feature, place, half)
            first += n

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
        self._insert("logit", pa.table({name: column[order] for name, column in logits.items()}))
        counts = decoder.logit_histogram
        bins = lists(counts.astype(np.int32).ravel(), np.arange(len(counts) + 1) * counts.shape[1])
        self._insert("logit_histogram", pa.table({"feature": np.arange(len(counts), dtype=np.int32), "counts": bins}))

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
            "same_text_tokens": [SAME_BEFORE, SAME_AFTER],
            "logit_histogram_edges": [float(edge) for edge in decoder.logit_histogram_edges],
            "provenance": self.manifest["provenance"],
        }
        rows = {"key": list(meta), "value": [canonical_json(value) for value in meta.values()]}
        self._insert("meta", pa.table(rows))


def _vocabulary(inputs: dict[str, NDArray[Any]]) -> list[bytes]:
    data, ends = inputs["vocabulary"].tobytes(), np.cumsum(inputs["vocabulary_lengths"])
    return [data[end - width : end] for end, width in zip(ends, inputs["vocabulary_lengths"], strict=True)]


def _check_references(positions: Positions, n_documents: int, n_tokens: int) -> None:
    if positions.tokens.min() < 0 or positions.tokens.max() >= n_tokens:
        raise StoreError(f"the corpus has token ids outside the vocabulary of {n_tokens}; it is another tokenizer's")
    if len(positions.segment_documents) and positions.segment_documents.max() >= n_documents:
        raise StoreError(f"contexts name document {positions.segment_documents.max()}, but there are {n_documents}")


def _files(paths: Iterator[Path]) -> str:
    return "[" + ", ".join(_quoted(str(path)) for path in paths) + "]"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _die_with_parent() -> None:
    """On Linux, end when the process that asked for the index is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> int:
    """Build one index; the path on standard output, or one line on standard error and exit code 3."""
    _die_with_parent()
    staging, destination, index_id = sys.argv[1:]
    try:
        print(build(Path(staging), Path(destination), index_id))
    except StoreError as error:
        print(error, file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
