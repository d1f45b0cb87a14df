"""The dashboard under load: `python benchmarks/serving.py WORKSPACE [--out FILE.json]`.

Eight clients on the same cores ask for the data of random features' pages (statistics, both histograms, promoted and
suppressed tokens, neighbours, twenty strongest examples with their text), after one pass over all of them; then for one
page again and again with its tag. The same is asked of `benchmarks/bare_server.py`, which does the least that could be
done. Rounds of all four alternate; medians are reported, also of the rounds' ratios. The figures committed are of
the index of 50 million codes and 16,384 features that `benchmarks/store_scale.py` describes, built by
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

ROUNDS, SECONDS = 5, 6
BARE = (str(Path(__file__).with_name("bare_server.py")), "{workspace}")
CHECK = "failed = 0\nfunction response(status) if status ~= {status} then failed = failed + 1 end end\n"


def scripts(address: str, base: str, n_features: int) -> dict[str, str]:
    """wrk's scripts: random features, and one unchanged page."""
    tag = httpx.get(f"{address}{base}/5.json").headers["etag"]
    path = f'"{base}/" .. math.random(0, {n_features - 1}) .. ".json"'
    unchanged = f"request = function() return wrk.format('GET', '{base}/5.json', {{['If-None-Match'] = '{tag}'}}) end"
    return {
        "random feature": f"{CHECK.format(status=200)}request = function() return wrk.format('GET', {path}) end\n",
        "unchanged": f"{CHECK.format(status=304)}{unchanged}\n",
    }


def measure(workspace: Path) -> dict:
    """Rounds of both kinds of request on both servers."""
    with FeatureStore.open(workspace) as store:
        index = store.indexes()[0]
    n, base = index["n_features"], f"/saes/{quote(index['sae_id'])}/features"
    rounds: dict[str, list[dict[str, float]]] = {}
    with served(workspace) as (ours, our_pid), served(workspace, BARE) as (bare, bare_pid):
        with httpx.Client(base_url=ours) as client:
            size = [len(client.get(f"{base}/{feature}.json").content) for feature in range(n)]
        asked = [("", ours, our_pid, scripts(ours, base, n)), ("bare: ", bare, bare_pid, scripts(bare, "", n))]
        for _ in range(ROUNDS):
            for kind in ("random feature", "unchanged"):
                for name, address, pid, own in asked:
                    before = cpu_seconds(pid)
                    found = wrk(address, own[kind], SECONDS)
                    found["cpu_ms"] = (cpu_seconds(pid) - before) / found["requests"] * 1e3
                    rounds.setdefault(name + kind, []).append(found)
                    print(name + kind, found, file=sys.stderr)
    return {
        "codes": index["n_codes"],
        "features": n,
        "page_kb": round(statistics.mean(size) / 1e3, 1),
        "load_average": round(os.getloadavg()[0], 2),
        "rows": {
            kind: {name: round(statistics.median(one[name] for one in found), 3) for name in found[0]}
            for kind, found in rounds.items()
        },
        "ratio_to_bare": {
            kind: round(
                statistics.median(
                    one["per_second"] / other["per_second"]
                    for one, other in zip(rounds[kind], rounds[f"bare: {kind}"], strict=True)
                ),
                2,
            )
            for kind in ("random feature", "unchanged")
        },
        **machine(),
    }


def report(found: dict) -> str:
    """The results as Markdown."""
    rows = []
    for kind, one in found["rows"].items():
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
