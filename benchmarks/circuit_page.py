"""How long a circuit's page takes in Chromium: `python benchmarks/circuit_page.py [--out FILE.json]`.

A circuit of 5,000 nodes and 30,000 edges is made (`tests/circuits/synthetic_circuit.py`), and its page opened at
1280 × 800 again and again, the browser having its scripts already as after any first visit. Measured in the browser,
from the start of the navigation to the frame that shows the graph, and after that: from moving the slider of effects,
and from a click on a node, to the frame that shows what changed; of the click also to its inputs and outputs. Beside
them, through HTTP alone, the graph's JSON.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from load import served
from markdown import markdown
from playwright.sync_api import Page, sync_playwright
from timing import machine

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "circuits"))

import synthetic_circuit

from saebench.circuits.files import write_circuit

NODES, EDGES, LAYERS = 5_000, 30_000, 6
VISITS = 21
OPENED = """
globalThis.marks = {};
const painted = () => requestAnimationFrame(() => setTimeout(() => { marks.opened ??= performance.now(); }));
const look = () => (document.querySelector("#graph")?.dataset.drawn ? painted() : requestAnimationFrame(look));
requestAnimationFrame(look);
"""
SLIDE = """value => new Promise((resolve) => {
  const slider = document.querySelector("[name=node_slider]");
  const started = performance.now();
  slider.value = value;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
  requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - started)));
})"""
CLICK = """row => new Promise((resolve) => {
  const link = document.querySelectorAll("#nodes tbody a")[row];
  const before = document.querySelector("#panel .id")?.textContent;
  const found = {};
  const started = performance.now();
  link.click();
  requestAnimationFrame(() => requestAnimationFrame(() => { found.chosen = performance.now() - started; }));
  const look = () => {
    const now = document.querySelector("#panel .id")?.textContent;
    if (now === undefined || now === before) return requestAnimationFrame(look);
    return requestAnimationFrame(() => setTimeout(() => resolve({ ...found, described: performance.now() - started })));
  };
  requestAnimationFrame(look);
})"""


def summary(values: list[float]) -> dict[str, int]:
    ordered = sorted(values)
    return {"median_ms": round(statistics.median(ordered)), "p95_ms": round(ordered[int(0.95 * (len(ordered) - 1))])}


def use(page: Page, address: str, times: dict[str, list[float]], visit: int) -> None:
    """Open the page once, slide and click."""
    page.goto(address)
    page.wait_for_function("() => globalThis.marks?.opened")
    times["opened"].append(page.evaluate("marks.opened"))
    page.wait_for_load_state("networkidle")
    times["slid"].append(page.evaluate(SLIDE, 300 + 15 * visit))
    for name, value in page.evaluate(CLICK, visit % 20).items():
        times[name].append(value)


def measure() -> dict:
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        write_circuit(workspace, synthetic_circuit.build("large", NODES, EDGES, n_layers=LAYERS))
        times: dict[str, list[float]] = {name: [] for name in ("opened", "slid", "chosen", "described", "graph.json")}
        with served(workspace) as (address, _), sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.add_init_script(OPENED)
            for visit in range(VISITS):
                use(page, f"{address}/circuits/large", times, visit)
            for _ in range(VISITS):
                started = time.perf_counter()
                size = len(urllib.request.urlopen(f"{address}/circuits/large/graph.json").read())
                times["graph.json"].append((time.perf_counter() - started) * 1e3)
            version = browser.version
            browser.close()
    return {
        "nodes": NODES, "edges": EDGES, "visits": VISITS - 1, "graph_kb": round(size / 1024),
        **{name: summary(values[1:]) for name, values in times.items()},
        "chromium": version, "cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 1), **machine(),
    }  # fmt: skip


def report(found: dict) -> str:
    """The results as Markdown."""
    names = {
        "opened": "opening the page to the graph", "slid": "the slider to the graph", "chosen": "a click to the graph",
        "described": "a click to inputs and outputs", "graph.json": "the graph's JSON through HTTP",
    }  # fmt: skip
    lines = [
        "# A circuit's page in Chromium",
        "",
        "`benchmarks/circuit_page.py`; its docstring says what is measured.",
        "",
    ]
    rows = [[words, found[name]["median_ms"], found[name]["p95_ms"]] for name, words in names.items()]
    lines += markdown(["from", "median ms", "p95 ms"], rows)
    where = f"Chromium {found['chromium']}, {found['cpu']}, {found['cpus']} cores, {found['date']}"
    size = f"{found['nodes']:,} nodes, {found['edges']:,} edges, {found['graph_kb']:,} KB of JSON"
    lines += ["", f"{size}; {found['visits']} visits. {where}; load average before the end {found['load']}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    found = measure()
    print(json.dumps(found, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=2) + "\n")
        arguments.out.with_suffix(".md").write_text(report(found))


if __name__ == "__main__":
    main()
