"""How long a feature's page takes in Chromium: `python benchmarks/pages.py WORKSPACE [--out FILE.json]`.

On the page of an SAE, rows of the table are clicked one after the other, sorted so that features of all densities come
up. Measured in the browser, from the click to the first examples painted, and to everything: all kinds of examples,
partners, and both figures drawn. Nothing is prefetched by hovering; the first of all clicks is left out. The test box
is in `benchmarks/live_box.py`, the table in `benchmarks/feature_table.py`.
"""

import argparse
import json
import os
import statistics
from pathlib import Path
from urllib.parse import quote

from load import served
from markdown import markdown
from playwright.sync_api import sync_playwright
from timing import machine

from store import FeatureStore

CLICKS = 41
WATCH = """
addEventListener("click", () => sessionStorage.setItem("clicked", performance.timeOrigin + performance.now()), true);
const since = () => performance.timeOrigin + performance.now() - Number(sessionStorage.getItem("clicked"));
const painted = (name) => requestAnimationFrame(() => setTimeout(() => { marks[name] ??= since(); }));
globalThis.marks = {};
function look() {
  const all = (selector, done) => {
    const found = [...document.querySelectorAll(selector)];
    return found.length && found.every(done);
  };
  if (document.querySelector("#examples .examples > li")) painted("first");
  if (all(".streamed", (e) => e.children.length) && all("#coactive", (e) => e.children.length)
    && all(".feature-strip .plot", (e) => e.querySelector(".main-svg"))) painted("everything");
  if (!marks.everything) requestAnimationFrame(look);
}
requestAnimationFrame(look);
"""


def measure(workspace: Path) -> dict:
    """Click on rows of the largest SAE's table."""
    with FeatureStore.open(workspace) as store:
        index = max(store.indexes(), key=lambda row: row["n_features"])
        order = store.features(index["sae_id"], index["corpus_id"]).filter("not dead").order("density desc").rows()
    step = len(order) // CLICKS
    features = [row["feature"] for row in order[:: max(step, 1)]][:CLICKS]
    times: dict[str, list[float]] = {"first": [], "everything": []}
    with served(workspace) as (address, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.add_init_script(WATCH)
        for feature in features:
            page.goto(f"{address}/saes/{quote(index['sae_id'])}?filter=feature+%3D+{feature}")
            page.wait_for_load_state("networkidle")
            page.evaluate("feature => document.querySelector(`a.row[href*='/features/${feature}?']`).click()", feature)
            page.wait_for_function("() => globalThis.marks.everything")
            for name, value in page.evaluate("marks").items():
                times[name].append(value)
        version = browser.version
        browser.close()
    shown = {}
    for name, values in times.items():
        later = sorted(values[1:])
        shown[name] = {"median_ms": round(statistics.median(later)), "p95_ms": round(later[int(0.95 * len(later))])}
    return {
        "sae": index["sae_id"], "features": index["n_features"], "clicks": len(features) - 1, **shown,
        "chromium": version, "cpus": os.cpu_count(), **machine(),
    }  # fmt: skip


def report(found: dict) -> str:
    """The results as Markdown."""
    lines = ["# A feature's page in Chromium", "", "`benchmarks/pages.py`; its docstring says what is measured.", ""]
    rows = [[name, found[name]["median_ms"], found[name]["p95_ms"]] for name in ("first", "everything")]
    lines += markdown(["from the click to", "median ms", "p95 ms"], rows)
    where = f"Chromium {found['chromium']}, {found['cpu']}, {found['cpus']} cores, {found['date']}"
    lines += ["", f"{found['clicks']} features of {found['sae']}. {where}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    found = measure(arguments.workspace)
    print(json.dumps(found, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=2) + "\n")
        arguments.out.with_suffix(".md").write_text(report(found))


if __name__ == "__main__":
    main()
