"""How the feature store grows: `python benchmarks/store_scale.py 5e6 1e7 5e7 [--features 16384] [--out FILE.json]`.

For every number of nonzeros: synthetic codes, staged through the real IndexWriter in parts of 256 contexts and
finalised by it; then bytes per nonzero of the finished file, table by table, seconds and peak memory of the finaliser
(all of its processes), and warm medians of queries through the API and through SQL. 32 features are active on a token,
drawn in proportion to 1 / rank and given random numbers; activations are a feature's own scale times 0.3 + an
exponential, which spreads them over as many octaves as those of a TopK SAE. Contexts have 256 tokens, one of them
special, of a Zipf vocabulary of 4,096 byte strings. `--memory` is the finaliser's limit in bytes. `--out FILE.json`
adds to that file and writes FILE.md.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import numpy as np
from markdown import markdown
from timing import machine

from store import ContextBlock, DecoderTables, FeatureStore, IndexWriter, index_id, indexes_folder, staging_folder

K, LENGTH, CONTEXTS, VOCABULARY = 32, 256, 256, 4096
IDENTIFIER = index_id("synthetic", "zipf")


def zipf(rng: np.random.Generator, n: int, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(codes per token, features): K different ones per token, as far as twice as many draws give them."""
    m = len(features)
    drawn = np.sort(np.minimum(m ** rng.random((n, 2 * K), dtype=np.float32), m - 1).astype(np.int32), axis=1)
    preference = rng.random(drawn.shape, dtype=np.float32)
    preference[:, 1:] += drawn[:, 1:] == drawn[:, :-1]
    kept = (preference <= np.partition(preference, K - 1, axis=1)[:, K - 1 : K]) & (preference < 1)
    return kept.sum(1), features[drawn[kept]]


def blocks(n_contexts: int, n_features: int, vocabulary: list[bytes], seed: int = 0) -> Iterator[ContextBlock]:
    """Contexts with their codes, CONTEXTS at a time; each block from a seed of its own, counted from `seed` on."""
    shared = np.random.default_rng(0)
    numbers, scale = shared.permutation(n_features).astype(np.int32), shared.lognormal(0, 0.5, n_features)
    widths = np.array([len(piece) for piece in vocabulary])
    for start in range(0, n_contexts, CONTEXTS):
        rng = np.random.default_rng(seed + start + 1)
        n = min(CONTEXTS, n_contexts - start)
        tokens = np.minimum(VOCABULARY ** rng.random((n, LENGTH)), VOCABULARY - 1).astype(np.int32)
        tokens[:, 0] = VOCABULARY
        special = tokens == VOCABULARY
        counts, features = zipf(rng, n * (LENGTH - 1), numbers)
        per_token = np.zeros((n, LENGTH), np.int64)
        per_token[:, 1:] = counts.reshape(n, -1)
        values = (scale[features] * (0.3 + rng.exponential(size=len(features)))).astype(np.float32)
        bounds = np.concatenate(
            [np.zeros((n, 1), np.int32), np.cumsum(np.where(special, 0, widths[tokens]), 1)], axis=1
        )
        source = [b"".join(vocabulary[token] for token in row[1:]) for row in tokens]
        segments = [[(1, (start + i) // 8, 1000 * (i % 8))] for i in range(n)]
        offsets = np.concatenate([[0], np.cumsum(per_token.ravel())])
        yield ContextBlock(tokens, special, source, bounds, segments, offsets, features, values)


def decoder(m: int, k: int = 12, bins: int = 48) -> DecoderTables:
    """Tables of the shapes that `saebench index` makes, of random contents."""
    rng = np.random.default_rng(1)
    cosine = -np.sort(-rng.uniform(0, 0.8, (m, k)).astype(np.float32), axis=1)
    logit = -np.sort(-rng.exponential(size=(m, k)).astype(np.float32), axis=1)
    return DecoderTables(
        decoder_norm=np.ones(m, np.float32), encoder_decoder_cosine=rng.uniform(0, 1, m).astype(np.float32),
        neighbours=rng.integers(0, m, (m, k), np.int32), neighbour_cosine=cosine,
        promoted=rng.integers(0, VOCABULARY, (m, k), np.int32), promoted_logit=logit,
        suppressed=rng.integers(0, VOCABULARY, (m, k), np.int32), suppressed_logit=-logit,
        logit_histogram_edges=np.linspace(-4, 4, bins + 1).astype(np.float32),
        logit_histogram=rng.multinomial(VOCABULARY, np.full(bins, 1 / bins), m).astype(np.int32),
    )  # fmt: skip


class Watch:
    """The most memory that this process' descendants hold together: private pages, and shared ones by share (PSS)."""

    def __enter__(self) -> "Watch":
        self.peak, self.seconds, self._over = 0, 0.0, threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        self._begun, self._cpu = time.perf_counter(), os.times()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._begun
        now = os.times()
        self.cpu_seconds = sum(now[2:4]) - sum(self._cpu[2:4])
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.2):
            self.peak = max(self.peak, sum(map(anonymous_bytes, descendants(os.getpid()))))


def descendants(pid: int) -> list[int]:
    """The processes that a process started, and theirs."""
    try:
        text = "".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    except OSError:
        return []
    return [process for child in map(int, text.split()) for process in (child, *descendants(child))]


def anonymous_bytes(pid: int) -> int:
    """Memory of one process that is not the kernel's cache of files; pages shared after a fork by share."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))


def median_ms(function: Callable[[int], object], n: int = 40) -> float:
    """Median of n calls with 0, 1, 2 …, after as many to warm up."""
    times = []
    for i in (*range(n), *range(n)):
        begun = time.perf_counter()
        function(i)
        times.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(times[n:])


def queries(workspace: Path) -> dict[str, float]:
    """Warm medians in ms of what pages and researchers ask for."""
    with FeatureStore.open(workspace, threads=1) as store:
        index = store.index()
        order = [row["feature"] for row in store.features().order("n_active DESC").select("feature").rows()]
        dense, mid = order[:8], order[len(order) // 16 :]
        by_feature, by_context = index.table("by_feature"), index.table("by_context")
        cursor = index.cursor()

        def raw(features: list[int]) -> Callable[[int], object]:
            sql = f"SELECT key, half FROM {by_feature} WHERE feature = ?::INTEGER ORDER BY half DESC, key LIMIT 20"
            return lambda i: cursor.execute(sql, [features[i % len(features)]]).fetchall()

        m = index.n_features
        token = (
            f"SELECT key // {LENGTH} % {m}, half FROM {by_context} WHERE context = ?::INTEGER AND key % {LENGTH} = 99"
        )
        prompt = (
            f"SELECT key // {LENGTH} % {m} AS f, max(half) AS h FROM {by_context} WHERE context = ?::INTEGER GROUP BY f"
        )
        prompt += " ORDER BY h DESC, f LIMIT 20"
        n = index.meta["n_contexts"]
        timed: dict[str, Callable[[int], object]] = {
            "top-20 raw, dense": raw(dense), "top-20 raw, mid": raw(mid),
            "top-20 precomputed with window": lambda i: store.feature(None, mid[i]).top(20),
            "features at a token": lambda i: cursor.execute(token, [i * 977 % n]).fetchall(),
            "features of a 256-token prompt": lambda i: cursor.execute(prompt, [i * 977 % n]).fetchall(),
            "co-activation neighbours": lambda i: store.feature(None, mid[i]).coactive(),
            "hard negatives with window": lambda i: store.feature(None, mid[i]).negatives(),
            "documents of a feature, mid": lambda i: store.feature(None, mid[i]).documents(),
            "one row of statistics": lambda i: store.feature(None, mid[i]).stats,
        }  # fmt: skip
        return {name: round(median_ms(function), 3) for name, function in timed.items()}


def bytes_of_tables(path: Path) -> dict[str, float]:
    """Blocks of each table in bytes; a block shared by several is counted for each by its share of their segments."""
    with duckdb.connect(str(path), read_only=True) as connection:
        size = connection.execute("SELECT block_size FROM pragma_database_size()").fetchall()[0][0]
        users: dict[int, list[str]] = {}
        for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
            sql = f"SELECT block_id, additional_block_ids FROM pragma_storage_info({name!r}) WHERE persistent"
            for block, more in connection.execute(sql).fetchall():
                for number in (block, *(more or ())):
                    users.setdefault(number, []).append(name)
    found: dict[str, float] = {}
    for names in users.values():
        for name in names:
            found[name] = found.get(name, 0) + size / len(names)
    return found


def measure(nonzeros: int, n_features: int, memory: int, folder: Path) -> dict:
    """Build one index and ask it everything."""
    rng = np.random.default_rng(2)
    vocabulary = [bytes(rng.integers(97, 123, 1 + int(rng.integers(1, 7))).astype(np.uint8)) for _ in range(VOCABULARY)]
    vocabulary.append(b"<begin>")
    n_contexts = round(nonzeros / K / (LENGTH - 1))
    writer = IndexWriter(staging_folder(folder, IDENTIFIER), n_features, LENGTH, {"made": "synthetic"})
    begun = time.perf_counter()
    n_codes, staging = 0, 0.0
    for block in blocks(n_contexts, n_features, vocabulary):
        moment = time.perf_counter()
        writer.add(block)
        staging += time.perf_counter() - moment
        n_codes += len(block.features)
    print(f"{n_codes:,} codes made and staged in {time.perf_counter() - begun:.0f} s", file=sys.stderr)
    documents = [(f"document-{i}", 10_000, f"{i:064x}") for i in range(n_contexts // 8 + 1)]
    tables = decoder(n_features)
    with Watch() as watch:
        path = writer.finish(indexes_folder(folder), IDENTIFIER, documents, vocabulary, tables, memory)
    tables_bytes = {name: round(size / n_codes, 3) for name, size in bytes_of_tables(path).items()}
    about = machine()
    return {
        "nonzeros": n_codes, "features": n_features, "memory_limit_mb": memory >> 20,
        "bytes_per_nonzero": round(path.stat().st_size / n_codes, 2),
        "stage_seconds": round(staging, 1), "finalise_seconds": round(watch.seconds, 1),
        "finalise_cpu_seconds": round(watch.cpu_seconds, 1), "peak_memory_mb": watch.peak >> 20,
        "queries_ms": queries(folder),
        "bytes_per_nonzero_of": dict(sorted(tables_bytes.items(), key=lambda item: -item[1])),
        "cpus": os.cpu_count(), "load_average": round(os.getloadavg()[0], 2), "processor": about["cpu"],
        "duckdb": duckdb.__version__, "python": about["python"],
        "date": about["date"],
    }  # fmt: skip


def report(rows: list[dict]) -> str:
    """The results as Markdown."""
    plain = ("features", "memory_limit_mb", "bytes_per_nonzero", "stage_seconds", "finalise_seconds",
             "finalise_cpu_seconds", "peak_memory_mb", "load_average")  # fmt: skip
    head = ["", *(f"{row['nonzeros']:,}" for row in rows)]
    lines = [
        "# The feature store at scale",
        "",
        "`benchmarks/store_scale.py`; its docstring says what is measured.",
        "",
    ]
    lines += markdown(head, [[name.replace("_", " "), *(row[name] for row in rows)] for name in plain])
    for title, part in (("Warm medians, ms", "queries_ms"), ("Bytes per nonzero by table", "bytes_per_nonzero_of")):
        lines += ["", f"## {title}", ""]
        lines += markdown(head, [[name, *(row[part].get(name, "") for row in rows)] for name in rows[0][part]])
    last = rows[-1]
    lines += ["", f"{last['processor']}, {last['cpus']} cores, DuckDB {last['duckdb']}, {last['date']}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nonzeros", type=float, nargs="+")
    parser.add_argument("--features", type=int, default=16384)
    parser.add_argument("--memory", type=float, default=2 << 30)
    parser.add_argument("--folder", type=Path, help="where to build; default: a temporary folder")
    parser.add_argument("--keep", action="store_true", help="leave the indexes there, each in a workspace of its own")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows = json.loads(arguments.out.read_text()) if arguments.out and arguments.out.exists() else []
    for nonzeros in arguments.nonzeros:
        folder = Path(tempfile.mkdtemp(dir=arguments.folder))
        try:
            rows.append(measure(int(nonzeros), arguments.features, int(arguments.memory), folder))
        finally:
            if not arguments.keep:
                shutil.rmtree(folder)
        print(json.dumps(rows[-1], indent=2))
        if arguments.out:
            arguments.out.write_text(json.dumps(rows, indent=2) + "\n")
            arguments.out.with_suffix(".md").write_text(report(rows))


if __name__ == "__main__":
    main()
