"""How long a circuit's page takes in Chromium: `python benchmarks/circuit_page.py [--out FILE.json]`.

A circuit of 5,000 nodes and 30,000 edges is made (`tests/circuits/synthetic_circuit.py`), and its page opened at
1280 × 800 again and again, the browser having its scripts already as after any first visit. Measured in the browser,
from the start of the navigation to the frame that shows the graph, and after that: from moving the slider of effects,
and from a click on a node, to the frame that shows what changed; of the click also to its inputs and outputs. Beside
them, through HTTP alone, the graph's JSON; and the server's processor time for page and graph when the circuit's file
has just been written.
"""

import argparse
import os
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from in_chromium import keep, measured_on, page_at_a_desk, report, summaries
from load import cpu_seconds, served
from playwright.sync_api import Page

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "circuits"))

import synthetic_circuit

from saebench.circuits.files import write_circuit

NODES, EDGES, LAYERS = 5_000, 30_000, 6
VISITS = 21
NAMES = {
    "opened": "opening the page to the graph",
    "slid": "the slider to the graph",
    "chosen": "a click to the graph",
    "described": "a click to inputs and outputs",
    "graph.json": "the graph's JSON through HTTP",
    "first": "page and graph of a circuit that the server has not read yet: its processor time",
}
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


def use(page: Page, address: str, times: dict[str, list[float]], visit: int) -> None:
    """Open the page once, slide and click."""
    page.goto(address)
    page.wait_for_function("() => globalThis.marks?.opened")
    times["opened"].append(page.evaluate("marks.opened"))
    page.wait_for_load_state("networkidle")
    times["slid"].append(page.evaluate(SLIDE, 300 + 15 * visit))
    for name, value in page.evaluate(CLICK, visit % 20).items():
        times[name].append(value)


def first_view(address: str, pid: int, file: Path) -> float:
    """ms of processor time that the server takes for the page and its graph when the circuit is new to it."""
    os.utime(file)
    begun = cpu_seconds(pid)
    for path in ("", "/graph.json"):
        urllib.request.urlopen(f"{address}/circuits/large{path}").read()
    return (cpu_seconds(pid) - begun) * 1e3


def measure() -> dict:
    times: dict[str, list[float]] = {name: [] for name in NAMES}
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        file = write_circuit(workspace, synthetic_circuit.build("large", NODES, EDGES, n_layers=LAYERS))
        with served(workspace) as (address, pid), page_at_a_desk(OPENED) as page:
            for visit in range(VISITS):
                use(page, f"{address}/circuits/large", times, visit)
            for _ in range(VISITS):
                started = time.perf_counter()
                size = len(urllib.request.urlopen(f"{address}/circuits/large/graph.json").read())
                times["graph.json"].append((time.perf_counter() - started) * 1e3)
            times["first"] = [first_view(address, pid, file) for _ in range(VISITS)]
            on = measured_on(page)
    about = {"nodes": NODES, "edges": EDGES, "visits": VISITS - 1, "graph_kb": round(size / 1024)}
    return {**about, **summaries(times), **on}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    found = measure()
    size = f"{found['nodes']:,} nodes, {found['edges']:,} edges, {found['graph_kb']:,} KB of JSON"
    about = f"{size}; {found['visits']} visits"
    keep(found, report("A circuit's page in Chromium", "circuit_page.py", "from", NAMES, found, about), arguments.out)


if __name__ == "__main__":
    main()
