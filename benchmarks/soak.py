"""A bounded soak: `python benchmarks/soak.py WORKSPACE [--requests 100000] [--out FILE.json]`.

Eight clients ask for everything that the dashboard shows, in random order, until so many requests have been answered:
pages and data of features, examples, contexts, tables in many orders and filters, comparison, lists, SQL, live texts;
while labels and notes are written, an index is added and removed, and other processes read and write the catalogue.
Every answer must be what its address is for (200, or 304 where a tag comes back; 422 and 404 where that is right). The
memory of the server is looked at as it goes: what it has grown by after the first tenth is reported.

WORKSPACE is copied first; `saebench demo --no-serve` makes one.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import httpx
from load import resident_mb, served
from timing import machine

from store import Annotations, FeatureStore

CLIENTS = 8
FILTERS = ["", "density > 1e-3", "density between 1e-4 and 1e-2 and max > 5", "dead", "dense", "duplicate", "mean > 3"]
ORDERS = ["", "density desc", "mean", "encoder_decoder_cosine desc", "top_token"]
KINDS = ["top", "quantiles", "random", "negatives"]
TEXTS = ["def f(self):\n    return self.x", 'import os\nprint("<script>")', "for item in items:", "naïve 日本 ↵"]


class Visitor:
    """One client: draws requests, checks answers."""

    def __init__(self, address: str, saes: list[dict], live: bool, seed: int) -> None:
        self.client = httpx.Client(base_url=address, timeout=120)
        self.random, self.saes, self.live = random.Random(seed), saes, live
        self.tags: dict[str, str] = {}

    def visit(self) -> tuple[str, str | None]:
        """(kind of request, what is wrong with the answer)."""
        kind = self.random.choices(list(MIX), [weight for weight, _ in MIX.values()])[0]
        method, path, body, right = MIX[kind][1](self, self.random.choice(self.saes))
        headers = {"accept": "text/html,*/*;q=0.5"}
        if method == "GET" and path in self.tags and self.random.random() < 0.5:
            headers["if-none-match"] = self.tags[path]
        answer = self.client.request(method, path, json=body, headers=headers)
        if answer.headers.get("etag"):
            self.tags = {**dict(list(self.tags.items())[-200:]), path: answer.headers["etag"]}
        return (
            kind,
            None if answer.status_code in right else f"{method} {path}: {answer.status_code} {answer.text[:200]}",
        )


def _feature(visitor: Visitor, sae: dict, rest: str = "") -> str:
    return f"/saes/{quote(sae['sae_id'])}/features/{visitor.random.randrange(sae['n_features'])}{rest}"


def _table(visitor: Visitor, sae: dict, form: str) -> str:
    draw = visitor.random.choice
    query = httpx.QueryParams(filter=draw(FILTERS), order=draw(ORDERS))
    return f"/saes/{quote(sae['sae_id'])}{form}?{query}"


def _get(path: str, *right: int) -> tuple[str, str, None, tuple[int, ...]]:
    return "GET", path, None, (200, 304, *right)


MIX = {
    "feature data": (30, lambda v, s: _get(_feature(v, s, ".json"))),
    "feature page": (12, lambda v, s: _get(_feature(v, s))),
    "examples": (12, lambda v, s: _get(_feature(v, s, f"/examples/{v.random.choice(KINDS)}"))),
    "partners": (5, lambda v, s: _get(_feature(v, s, f"/coactive/{v.random.choice(['jaccard', 'pmi', 'pearson'])}"))),
    "context": (5, lambda v, s: _get(_feature(v, s, f"/contexts/{v.random.randrange(s['n_contexts'])}"))),
    "card": (2, lambda v, s: _get(_feature(v, s, "?embed=1"))),
    "home": (2, lambda v, s: _get(v.random.choice(["/", "/home.json", "/runs"]))),
    "table": (8, lambda v, s: _get(_table(v, s, "/features.json"))),
    "SAE page": (3, lambda v, s: _get(_table(v, s, ""))),
    "static": (5, lambda v, s: _get("/favicon.ico")),
    "lists": (2, lambda v, s: _get(v.random.choice(["/lists", "/lists.json"]))),
    "SQL": (1, lambda v, s: _get("/sql.json?" + str(httpx.QueryParams(q="SELECT 41 + 1 AS n")))),
    "nowhere": (2, lambda v, s: _get("/nowhere", 404)),
    "wrong filter": (2, lambda v, s: _get(f"/saes/{quote(s['sae_id'])}/features.json?filter=nope+%3E+1", 422)),
    "label": (1, lambda v, s: ("PUT", _feature(v, s, "/label"), {"text": f"label {v.random.random()}"}, (200,))),
    "note": (1, lambda v, s: ("POST", _feature(v, s, "/notes"), {"text": "<script>alert(1)</script>"}, (200,))),
    "live": (
        1,
        lambda v, s: (
            "POST",
            _feature(v, s, "/live.json"),
            {"text": v.random.choice(TEXTS)},
            (200,) if v.live else (503,),
        ),
    ),
}
"""Kind → (weight, what is asked: method, path, body, right answers)."""


def disturb(workspace: Path, over: threading.Event) -> None:
    """What other processes do meanwhile: labels come and go in the catalogue, an index appears and vanishes."""
    index = next((workspace / "indexes").glob("*.duckdb"))
    other = index.with_name("another." + index.name.split(".", 1)[1])
    while not over.wait(5):
        Annotations(workspace).set_label("another.sae", 1, "from outside", "soak")
        shutil.copy(index, other.with_suffix(".copying"))
        other.with_suffix(".copying").rename(other)  # as the writer of indexes does
        over.wait(5)
        other.unlink()


def soak(workspace: Path, n_requests: int) -> dict:
    """Ask and watch."""
    with FeatureStore.open(workspace) as store:
        saes = store.indexes()
    live = all((workspace / "saes" / sae["sae_id"] / "sae.safetensors").exists() for sae in saes)
    wrong: list[str] = []
    asked: Counter[str] = Counter()
    memory: list[tuple[int, float]] = []
    over, lock = threading.Event(), threading.Lock()
    with served(workspace) as (address, pid):

        def work(seed: int) -> None:
            visitor = Visitor(address, saes, live, seed)
            while not over.is_set():
                kind, problem = visitor.visit()
                with lock:
                    asked[kind] += 1
                    total = asked.total()
                    if problem:
                        wrong.append(problem)
                        print(problem, file=sys.stderr)
                    if total % max(n_requests // 100, 1) == 0:
                        memory.append((total, resident_mb(pid)))
                        print(f"{total:,} asked, {len(wrong)} wrong, {memory[-1][1]:.0f} MiB", file=sys.stderr)
                    if total >= n_requests or len(wrong) > 50:
                        over.set()

        begun = time.perf_counter()
        outside = threading.Thread(target=disturb, args=(workspace, over))
        outside.start()
        with ThreadPoolExecutor(CLIENTS) as pool:
            for future in [pool.submit(work, seed) for seed in range(CLIENTS)]:
                future.result()
        over.set()
        outside.join()
        seconds = time.perf_counter() - begun
    tenths = [statistics.median(mb for _, mb in memory[i : i + 10]) for i in range(0, len(memory) - 9, 10)]
    return {
        "requests": asked.total(), "seconds": round(seconds), "wrong": wrong[:20], "of_each": dict(asked.most_common()),
        "memory_mb_by_tenth": [round(mb) for mb in tenths],
        "growth_after_the_first_tenth": round(tenths[-1] / tenths[1] - 1, 3) if len(tenths) > 1 else None,
        "clients": CLIENTS, "cpus": os.cpu_count(), **machine(),
    }  # fmt: skip


def report(found: dict) -> str:
    """The result as Markdown."""
    lines = ["# Soak", "", "`benchmarks/soak.py`; its docstring says what is asked.", ""]
    lines.append(
        f"{found['requests']:,} requests by {found['clients']} clients in {found['seconds']:,} s: "
        f"{len(found['wrong'])} wrong answers."
    )
    lines.append(f"Memory by tenth, MiB: {', '.join(map(str, found['memory_mb_by_tenth']))}.")
    lines += ["", f"{found['cpu']}, {found['cpus']} cores, torch {found['torch']}, {found['date']}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(arguments.workspace, Path(folder) / "workspace")
        found = soak(copy, arguments.requests)
    print(json.dumps(found, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=2) + "\n")
        arguments.out.with_suffix(".md").write_text(report(found))
    sys.exit(bool(found["wrong"]))


if __name__ == "__main__":
    main()
