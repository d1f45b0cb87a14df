"""Choosing features by frequency and by squares from the store: `python benchmarks/selection.py [--out FILE.json]`.

Two indexes of one SAE on two corpora of synthetic codes (as `benchmarks/store_scale.py` makes them, 32 on a token) are
built, not timed. Then, each in a store opened anew: selection B of two whole indexes, C of the same, and B of one index
against itself by groups of documents (a fifth of them against the rest). Three sizes of the corpora, and three numbers
of features at the smallest. Wall times, the median of three; the file's pages may be in the kernel's cache.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from markdown import markdown
from store_scale import LENGTH, VOCABULARY, blocks, decoder
from timing import machine

from saebench.interventions.choosing import by_frequency, by_squares
from store import FeatureStore, IndexWriter, index_id, indexes_folder, staging_folder

SAE = "synthetic"
SIZES = [(250_000, 16384), (500_000, 16384), (1_000_000, 16384), (250_000, 4096), (250_000, 65536)]
"""(tokens of each corpus, features)."""


def build(folder: Path, corpus: str, n_tokens: int, n_features: int, seed: int) -> int:
    """One index, of contexts from a seed on, so that corpora differ. Returns its number of codes."""
    rng = np.random.default_rng(2)
    vocabulary = [bytes(rng.integers(97, 123, 1 + int(rng.integers(1, 7))).astype(np.uint8)) for _ in range(VOCABULARY)]
    vocabulary.append(b"<begin>")
    n_contexts = round(n_tokens / (LENGTH - 1))
    identifier = index_id(SAE, corpus)
    writer = IndexWriter(
        staging_folder(folder, identifier), n_features, LENGTH, {"made": "synthetic", "corpus": corpus}
    )
    codes = 0
    for block in blocks(n_contexts, n_features, vocabulary, seed):
        writer.add(block)
        codes += len(block.features)
    documents = [(f"topic-{i % 5}/{i}", 10_000, f"{i:064x}") for i in range(n_contexts // 8 + 1)]
    writer.finish(indexes_folder(folder), identifier, documents, vocabulary, decoder(n_features), 2 << 30)
    return codes


def seconds(folder: Path, what: Callable[[FeatureStore], object]) -> float:
    """Median of three, each with a store of its own."""
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        with FeatureStore.open(folder) as store:
            what(store)
        times.append(time.perf_counter() - begun)
    return round(statistics.median(times), 2)


def measure(n_tokens: int, n_features: int, folder: Path) -> dict:
    """Build two indexes and select."""
    codes = [build(folder, corpus, n_tokens, n_features, seed) for corpus, seed in (("forget", 0), ("retain", 1 << 20))]
    forget, retain = {"sae": SAE, "corpus": "forget"}, {"sae": SAE, "corpus": "retain"}
    topic = ["topic-0/*"]
    asked: dict[str, Callable[[FeatureStore], object]] = {
        "b": lambda s: by_frequency(SAE, s.firings(**forget), s.firings(**retain)),
        "c": lambda s: by_squares(SAE, s.firings(**forget, squares=True), s.firings(**retain, squares=True)),
        "b_groups": lambda s: by_frequency(
            SAE, s.firings(**forget, documents=topic), s.firings(**forget, without=topic)
        ),
    }
    return {
        "tokens_each": n_tokens, "features": n_features, "codes": sum(codes),
        **{f"{name}_seconds": seconds(folder, what) for name, what in asked.items()},
        "load_average": round(os.getloadavg()[0], 1),
    }  # fmt: skip


def report(found: dict) -> str:
    """The result as Markdown."""
    columns = ("tokens_each", "features", "codes", "b_seconds", "c_seconds", "b_groups_seconds", "load_average")
    lines = [
        "# Choosing features from the store",
        "",
        "`benchmarks/selection.py`; its docstring says what is measured.",
        "",
    ]
    lines += markdown(columns, [[row[column] for column in columns] for row in found["rows"]])
    lines += ["", f"{found['cpu']}, {found['cores']} cores usable, DuckDB's threads as many, {found['date']}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the tokens")
    parser.add_argument("--folder", type=Path, help="where to build; default: a temporary folder")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    found = {**machine(), "cores": len(os.sched_getaffinity(0)), "rows": []}
    for n_tokens, n_features in SIZES:
        folder = Path(tempfile.mkdtemp(dir=arguments.folder))
        try:
            found["rows"].append(measure(round(n_tokens * arguments.scale), n_features, folder))
        finally:
            shutil.rmtree(folder)
        print(found["rows"][-1], file=sys.stderr, flush=True)
        if arguments.out:
            arguments.out.write_text(json.dumps(found, indent=2) + "\n")
            arguments.out.with_suffix(".md").write_text(report(found))


if __name__ == "__main__":
    main()
