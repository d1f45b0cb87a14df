"""SHIFT on the demo model: `python benchmarks/circuit_shift.py WORKSPACE [--data topic-self] [--saes SET] [--out DIR]`

A probe of what a text is about (Python itself or networks), trained where that always goes with something else (whether
it is code or prose; whether it has `self` in it), then judged where it does not, on modules that neither the model nor
the SAEs nor the probe have seen. Features are chosen from those of the largest effect: as `circuit_shift_<data>.csv`
marks them (by a language model that read the sheet of `--ranked-out`, without the balanced data: what is not about the
topic goes), and by the automatic rule, which knows the confound of every training text. Beside them as many random
features, the skyline (the features that say most of the confound) and the oracle (a probe trained on balanced texts).
All numbers are of one draw of texts, those of random features of three draws.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

from markdown import markdown
from timing import machine

from saebench.circuits.sets import find_set
from saebench.circuits.sets_open import open_set
from saebench.circuits.shift import choose
from saebench.circuits.shift.files import data_of
from saebench.circuits.shift.result import Row
from saebench.circuits.shift.run import Shift

PROBES = {"topic-self": "blocks.1.hook_resid_post", "topic-form": "blocks.2.hook_resid_post"}
"""Where the probe of each data reads."""


def cells(row: Row) -> list[str]:
    """One row of the table, in percent."""
    scores = [row.score, row.retrained]
    shares = [[f"{s.label:.1%}", f"{s.confound:.1%}", f"{s.worst:.1%}"] if s else ["–"] * 3 for s in scores]
    return [row.name, str(row.n_features or "–"), *shares[0], *shares[1]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--saes")
    parser.add_argument("--data", choices=PROBES, default="topic-self")
    parser.add_argument("--out", type=Path, help="folder of circuit_shift_<data>.json and .md")
    arguments = parser.parse_args()
    chosen = find_set(arguments.workspace, arguments.saes)
    opened = open_set(arguments.workspace, chosen)
    data = data_of(arguments.workspace, arguments.data)
    run = Shift(opened.lm, data, opened.saes, chosen.saes, PROBES[arguments.data], set_id=chosen.id)
    begun = time.perf_counter()
    judged = Path(__file__).with_name(f"circuit_shift_{arguments.data}.csv")
    picks, n_judged = choose.from_file(judged, run.known), len(judged.read_text().splitlines()) - 1
    n = len(picks)
    steps: list[Callable[[], Row]] = [
        run.before,
        run.oracle,
        lambda: run.row("judged by reading", picks),
        lambda: run.row("skyline", run.skyline(n)),
        lambda: run.row("automatic rule", run.automatic(n_judged)),
        lambda: run.at_random(n),
    ]
    found: list[Row] = []
    for step in steps:  # the whole takes minutes: what is done is shown and kept
        found.append(step())
        print(f"{time.perf_counter() - begun:6.0f} s", *cells(found[-1]), sep="  ", flush=True)
        if arguments.out:
            write(arguments.out / f"circuit_shift_{arguments.data}.json", run, chosen.id, found)


def write(path: Path, run: Shift, set_id: str, rows: list[Row]) -> None:
    """The results so far."""
    about = {"probe_at": run.probe_at, "set": set_id, "saes": len(run.sites), "data_sha256": run.data.sha256}
    sizes = {
        "ambiguous": len(run.ambiguous.examples),
        "test": len(run.test.examples),
        "oracle": len(run.balanced.examples),
    }
    result = {**about, "examples": sizes, "rows": [row.model_dump() for row in rows], **machine()}
    path.write_text(json.dumps(result, indent=2) + "\n")
    head = ["ablated", "features", "topic", "confound", "worst group", "topic, retrained", "confound", "worst group"]
    text = [
        f"# SHIFT on the demo model, {run.data.name}",
        "",
        f"`benchmarks/circuit_shift.py --data {run.data.name}` (its docstring says what is measured): the probe reads "
        f"{run.probe_at}, features are of {len(run.sites)} SAEs; trained on {sizes['ambiguous']} ambiguous texts, the "
        f"oracle on {sizes['oracle']} balanced ones, judged on {sizes['test']} balanced ones of held-out modules. "
        f"*topic*: how often the probe says the topic; *confound*: how often it says {' or '.join(run.data.confounds)} "
        "(50%: it does not look at it).",
        "",
        *markdown(head, (cells(row) for row in rows)),
        "",
        f"{result['cpu']}, torch {result['torch']}, {result['date']}.",
    ]
    path.with_suffix(".md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
