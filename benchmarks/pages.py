"""How long a feature's page takes in Chromium: `python benchmarks/pages.py WORKSPACE [--out FILE.json]`.

On the page of an SAE, rows of the table are clicked one after the other, sorted so that features of all densities come
up. Measured in the browser, from the click to the first examples painted, and to everything: all kinds of examples,
partners, and both figures drawn. Nothing is prefetched by hovering; the first of all clicks is left out. The test box
is in `benchmarks/live_box.py`, the table in `benchmarks/feature_table.py`.
"""

import argparse
from pathlib import Path
from urllib.parse import quote

from in_chromium import keep, measured_on, page_at_a_desk, report, summaries
from load import served

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
    with served(workspace) as (address, _), page_at_a_desk(WATCH) as page:
        for feature in features:
            page.goto(f"{address}/saes/{quote(index['sae_id'])}?filter=feature+%3D+{feature}")
            page.wait_for_load_state("networkidle")
            page.evaluate("feature => document.querySelector(`a.row[href*='/features/${feature}?']`).click()", feature)
            page.wait_for_function("() => globalThis.marks.everything")
            for name, value in page.evaluate("marks").items():
                times[name].append(value)
        on = measured_on(page)
    return {
        "sae": index["sae_id"], "features": index["n_features"], "clicks": len(features) - 1, **summaries(times), **on,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    found = measure(arguments.workspace)
    names = {"first": "first examples", "everything": "everything"}
    about = f"{found['clicks']} features of {found['sae']}"
    keep(
        found,
        report("A feature's page in Chromium", "pages.py", "from the click to", names, found, about),
        arguments.out,
    )


if __name__ == "__main__":
    main()
