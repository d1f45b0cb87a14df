"""What benchmarks of pages in Chromium share: the browser, summaries of times, and the report of them."""

import json
import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from markdown import markdown
from playwright.sync_api import Page, sync_playwright
from timing import machine


@contextmanager
def page_at_a_desk(script: str) -> Iterator[Page]:
    """A page of 1280 × 800 in Chromium, in which a script runs first at every address."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.add_init_script(script)
        yield page
        browser.close()


def summaries(times: Mapping[str, Sequence[float]]) -> dict[str, dict[str, int]]:
    """Median and 95th percentile of each list of milliseconds but its first, which warms up."""
    ordered = {name: sorted(values[1:]) for name, values in times.items()}
    return {
        name: {
            "median_ms": round(statistics.median(values)),
            "p95_ms": round(values[int(0.95 * (len(values) - 1))]),
        }
        for name, values in ordered.items()
    }


def measured_on(page: Page) -> dict:
    """Browser and machine; their load is that before the end."""
    chromium = page.context.browser
    version = chromium.version if chromium else ""
    return {"chromium": version, "cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 1), **machine()}


def report(title: str, program: str, head: str, names: Mapping[str, str], found: dict, about: str) -> str:
    """The results as Markdown.

    Args:
        title: of the page.
        program: the benchmark's file name.
        head: of the column of names.
        names: what is listed, by its key in the results, in words.
        found: the results.
        about: what was measured, a sentence.
    """
    lines = [f"# {title}", "", f"`benchmarks/{program}`; its docstring says what is measured.", ""]
    rows = [[words, found[name]["median_ms"], found[name]["p95_ms"]] for name, words in names.items()]
    lines += markdown([head, "median ms", "p95 ms"], rows)
    where = f"Chromium {found['chromium']}, {found['cpu']}, {found['cpus']} cores, {found['date']}"
    lines += ["", f"{about}. {where}; load average before the end {found['load']}."]
    return "\n".join(lines) + "\n"


def keep(found: dict, text: str, out: Path | None) -> None:
    """Print the results; with `out` (a .json), also write them there, and as Markdown beside it."""
    print(json.dumps(found, indent=2))
    if out:
        out.write_text(json.dumps(found, indent=2) + "\n")
        out.with_suffix(".md").write_text(text)
