"""How long the feature table takes, as a person sees it: `python benchmarks/feature_table.py [--workspace DIR]`.

A real uvicorn serves an index; a real Chromium opens the SAE's page at 1280 × 800. Measured in the browser, from the
click or the scroll to the frame after the rows are there: sorting by another column, filters that nobody has asked for
before, and jumps to places all over the list. All are over when the rows in view have their cells; a second round of
jumps goes to the same places. Beside them, through HTTP alone: the whole page and one window of rows, warm. Without
`--workspace` an index of synthetic codes is built (see store_scale.py). `--out FILE.json` writes that file and FILE.md.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import uvicorn
from markdown import markdown
from playwright.sync_api import Page, sync_playwright
from store_scale import IDENTIFIER, LENGTH, VOCABULARY, K, blocks, decoder
from timing import machine

import web
from store import FeatureStore, IndexWriter, indexes_folder, staging_folder

COLUMNS = ("density", "max_activation", "mean", "feature")
CHROMIUM = "/usr/bin/chromium"

# From now until `done` holds and the frame that shows it has been drawn, in ms.
CLOCK = """
window.timed = (begin, done) => new Promise((resolve, reject) => {
  const started = performance.now();
  begin();
  const look = () => {
    if (performance.now() - started > 10000) return reject(new Error("nothing came in 10 s"));
    if (!done()) return requestAnimationFrame(look);
    return requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - started)));
  };
  requestAnimationFrame(look);
});
window.box = () => document.querySelector("#features .scroll");
window.filled = () => {
  const { top, left, height } = box().getBoundingClientRect();
  const inside = [40, height / 2, height - 8].map((y) => document.elementFromPoint(left + 100, top + y));
  return inside.every((element) => element?.closest("tr[aria-rowindex]"));
};
undefined;
"""
SORT = """order => {
  const before = box();
  const links = [...document.querySelectorAll("#features th a")];
  const link = links.find((a) => new URL(a.href).searchParams.get("order").startsWith(order));
  return timed(() => link.click(), () => box() && box() !== before && filled());
}"""
FILTER = """text => {
  const before = box();
  const field = document.querySelector("#filter");
  field.value = text;
  return timed(() => field.form.requestSubmit(), () => box() && box() !== before && filled());
}"""
JUMP = """share => timed(() => { box().scrollTop = share * (box().scrollHeight - box().clientHeight); }, filled)"""


def build(workspace: Path, nonzeros: int, n_features: int) -> None:
    """An index of synthetic codes."""
    rng = np.random.default_rng(2)
    words = [bytes(rng.integers(97, 123, 1 + int(rng.integers(1, 7))).astype(np.uint8)) for _ in range(VOCABULARY)]
    vocabulary = [*words, b"<begin>"]
    n_contexts = round(nonzeros / K / (LENGTH - 1))
    writer = IndexWriter(staging_folder(workspace, IDENTIFIER), n_features, LENGTH, {"made": "synthetic"})
    for block in blocks(n_contexts, n_features, vocabulary):
        writer.add(block)
    documents = [(f"document-{i}", 10_000, f"{i:064x}") for i in range(n_contexts // 8 + 1)]
    writer.finish(indexes_folder(workspace), IDENTIFIER, documents, vocabulary, decoder(n_features))


@contextmanager
def served(workspace: Path) -> Iterator[str]:
    """The dashboard's address, from a uvicorn in a thread of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(web.create_app(workspace), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()


def in_browser(page: Page, n: int) -> dict[str, list[float]]:
    """ms of each sort, filter and jump."""
    rng = np.random.default_rng(0)
    places = rng.random(n).tolist()
    sorts = [page.evaluate(SORT, COLUMNS[i % len(COLUMNS)]) for i in range(2 * n)]
    return {
        "sort, first of its kind": sorts[: 2 * len(COLUMNS)],
        "sort, asked for before": sorts[2 * len(COLUMNS) :],
        "jump": [page.evaluate(JUMP, place) for place in places],
        "jump, again": [page.evaluate(JUMP, place) for place in places],
        "filter": [page.evaluate(FILTER, f"density > {1e-5 * (i + 1):.2g} and max > 1") for i in range(n)],
    }


def over_http(address: str, n: int) -> list[float]:
    """ms of each request, after three to warm up."""

    def ask() -> None:
        with urllib.request.urlopen(address) as answer:
            answer.read()

    return [milliseconds(ask) for _ in range(n + 3)][3:]


def milliseconds(function: Callable[[], None]) -> float:
    begun = time.perf_counter()
    function()
    return (time.perf_counter() - begun) * 1e3


def measure(workspace: Path, n: int) -> dict:
    """Everything about one index."""
    with FeatureStore.open(workspace) as store:
        index = store.indexes()[0]
    with served(workspace) as address, sync_playwright() as playwright:
        page_address = f"{address}/saes/{index['sae_id']}"
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(page_address)
        page.wait_for_function("[...document.querySelectorAll('.plot')].every(plot => plot.dataset.drawn)")
        page.evaluate(CLOCK)
        page.evaluate("box().scrollIntoView({ block: 'center' })")
        times = in_browser(page, n)
        rows = page.evaluate("document.querySelectorAll('#features tbody tr[aria-rowindex]').length")
        browser.close()
        times["HTTP: whole page"] = over_http(page_address, n)
        times["HTTP: a window of rows"] = over_http(f"{page_address}/rows?from=0", n)
    about = machine()
    return {
        "features": index["n_features"], "codes": index["n_codes"], "rows_in_the_page": rows,
        "ms": {name: summary(found) for name, found in times.items()},
        "cpus": os.cpu_count(), "load_average": about["load_average_before"], "processor": about["cpu"],
        "python": about["python"], "date": about["date"],
    }  # fmt: skip


def summary(times: list[float]) -> dict[str, float]:
    """How many, median, 95th percentile and the longest."""
    ordered = sorted(times)
    return {
        "n": len(times), "median": round(statistics.median(times), 1),
        "p95": round(ordered[min(len(times) - 1, round(0.95 * len(times)))], 1), "longest": round(ordered[-1], 1),
    }  # fmt: skip


def report(row: dict) -> str:
    """The results as Markdown."""
    lines = [
        "# The feature table",
        "",
        f"{row['features']:,} features, {row['codes']:,} codes; {row['rows_in_the_page']} rows in the page. Times in",
        "ms, in Chromium from the click or the scroll to painted rows; `benchmarks/feature_table.py` says how.",
        "",
        *markdown(["", "n", "median", "p95", "longest"], [[name, *part.values()] for name, part in row["ms"].items()]),
        "",
        f"{row['processor']}, {row['cpus']} cores shared by server and browser, load {row['load_average']} before;"
        f" {row['date']}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, help="one with an index; default: a synthetic one is built")
    parser.add_argument("--nonzeros", type=float, default=1e7)
    parser.add_argument("--features", type=int, default=65536)
    parser.add_argument("--times", type=int, default=24, help="of each kind")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    folder = arguments.workspace or Path(tempfile.mkdtemp())
    try:
        if not arguments.workspace:
            print("building an index …", file=sys.stderr)
            build(folder, int(arguments.nonzeros), arguments.features)
        row = measure(folder, arguments.times)
    finally:
        if not arguments.workspace:
            shutil.rmtree(folder)
    print(report(row))
    if arguments.out:
        arguments.out.write_text(json.dumps(row, indent=2) + "\n")
        arguments.out.with_suffix(".md").write_text(report(row))


if __name__ == "__main__":
    main()
