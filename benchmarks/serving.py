"""The dashboard under load: `python benchmarks/serving.py WORKSPACE [--out FILE.json]`.

Eight clients on the same cores ask for the data of random features' pages (statistics, both histograms, promoted and
suppressed tokens, neighbours, twenty strongest examples with their text), after one pass over all of them; then for one
page again and again with its tag. Rounds of both alternate; medians are reported. The figures committed are of the
index of 50 million codes and 16,384 features that `benchmarks/store_scale.py` describes, built by
`python benchmarks/store_scale.py 5e7 --folder DIR --keep`.
"""

import argparse
import json
import os
import statistics
import sys
from pathlib import Path
from urllib.parse import quote

import httpx
from load import cpu_seconds, served, wrk
from markdown import markdown
from timing import machine

from store import FeatureStore

ROUNDS, SECONDS = 5, 10
CHECK = "failed = 0\nfunction response(status) if status ~= {status} then failed = failed + 1 end end\n"


def scripts(address: str, sae: str, n_features: int) -> dict[str, str]:
    """wrk's scripts: random features, and one unchanged page."""
    base = f"/saes/{quote(sae)}/features"
    tag = httpx.get(f"{address}{base}/5.json").headers["etag"]
    random = (
        f'request = function() return wrk.format("GET", "{base}/" .. math.random(0, {n_features - 1}) .. ".json") end'
    )
    unchanged = f"request = function() return wrk.format('GET', '{base}/5.json', {{['If-None-Match'] = '{tag}'}}) end"
    return {
        "random feature": f"math.randomseed(7)\n{CHECK.format(status=200)}{random}\n",
        "unchanged": f"{CHECK.format(status=304)}{unchanged}\n",
    }


def measure(workspace: Path) -> dict:
    """Rounds of both kinds of request."""
    with FeatureStore.open(workspace) as store:
        index = store.indexes()[0]
    rounds: dict[str, list[dict[str, float]]] = {}
    with served(workspace) as (address, pid), httpx.Client(base_url=address) as client:
        kinds = scripts(address, index["sae_id"], index["n_features"])
        base = f"/saes/{quote(index['sae_id'])}/features"
        size = [len(client.get(f"{base}/{feature}.json").content) for feature in range(index["n_features"])]
        for _ in range(ROUNDS):
            for kind, script in kinds.items():
                before = cpu_seconds(pid)
                found = wrk(address, script, SECONDS)
                found["cpu_ms"] = (cpu_seconds(pid) - before) / found["requests"] * 1e3
                rounds.setdefault(kind, []).append(found)
                print(kind, found, file=sys.stderr)
    return {
        "codes": index["n_codes"],
        "features": index["n_features"],
        "page_kb": round(statistics.mean(size) / 1e3, 1),
        "load_average": round(os.getloadavg()[0], 2),
        **{
            kind: {name: round(statistics.median(one[name] for one in found), 3) for name in found[0]}
            for kind, found in rounds.items()
        },
        **machine(),
    }


def report(found: dict) -> str:
    """The results as Markdown."""
    rows = []
    for kind in ("random feature", "unchanged"):
        one = found[kind]
        times = [f"{one[name]:.2f}" for name in ("p50_ms", "p99_ms", "cpu_ms")]
        rows.append([kind, f"{one['per_second']:,.0f}", *times, int(one["failed"] + one["broken"])])
    head = ["request", "per second", "p50 ms", "p99 ms", "server's CPU ms", "failed"]
    lines = ["# Serving features", "", "`benchmarks/serving.py`; its docstring says what is measured.", ""]
    lines += markdown(head, rows)
    said = (
        f"{found['codes']:,} codes, {found['features']:,} features, {found['page_kb']} kB a page, 8 clients, medians of"
    )
    lines += ["", f"{said} {ROUNDS} rounds of {SECONDS} s. {found['cpu']}, {os.cpu_count()} cores, {found['date']}."]
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
