"""SHIFT on the demo model: `python benchmarks/circuit_shift.py WORKSPACE [--saes SET] [--out FILE.json]`

A probe of what a text is about (Python itself or networks), trained where that always goes with its form (code or
prose), then judged where it does not, on modules that neither the model nor the SAEs nor the probe have seen. Features
are chosen from the 60 of the largest effect: as `circuit_shift_judged.csv` marks them (made by a language model that
read the sheet of `--ranked-out`, without the balanced data), and by the automatic rule, which knows the form of every
training text. Beside them as many random features, the skyline (the features that say most of the form) and the oracle
(a probe trained on balanced texts). All numbers are of one draw of texts, those of random features of three draws.
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

JUDGED = Path(__file__).with_name("circuit_shift_judged.csv")
TOP = 60


def cells(row: Row) -> list[str]:
    """One row of the table, in percent."""
    scores = [row.score, row.retrained]
    shares = [[f"{s.label:.1%}", f"{s.confound:.1%}", f"{s.worst:.1%}"] if s else ["–"] * 3 for s in scores]
    return [row.name, str(row.n_features or "–"), *shares[0], *shares[1]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--saes")
    parser.add_argument("--probe-at", default="blocks.2.hook_resid_post")
    parser.add_argument("--judged", type=Path, default=JUDGED)
    parser.add_argument("--out", type=Path, help="FILE.json; FILE.md is written beside it")
    arguments = parser.parse_args()
    chosen = find_set(arguments.workspace, arguments.saes)
    opened = open_set(arguments.workspace, chosen)
    data = data_of(arguments.workspace, "topic-form")
    run = Shift(opened.lm, data, opened.saes, chosen.saes, arguments.probe_at, set_id=chosen.id)
    begun = time.perf_counter()
    picks = choose.from_file(arguments.judged, run.known)
    n = len(picks)
    steps: list[Callable[[], Row]] = [
        run.before,
        run.oracle,
        lambda: run.row("judged by reading", picks),
        lambda: run.row("skyline", run.skyline(n)),
        lambda: run.row("automatic rule", run.automatic(TOP)),
        lambda: run.at_random(n),
    ]
    found: list[Row] = []
    for step in steps:  # the whole takes minutes: what is done is shown and kept
        found.append(step())
        print(f"{time.perf_counter() - begun:6.0f} s", *cells(found[-1]), sep="  ", flush=True)
        if arguments.out:
            write(arguments.out, run, chosen.id, found)


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
    head = ["ablated", "features", "topic", "form", "worst group", "topic, retrained", "form", "worst group"]
    text = [
        "# SHIFT on the demo model",
        "",
        f"`benchmarks/circuit_shift.py` (its docstring says what is measured): the probe reads {run.probe_at}, "
        f"features are of {len(run.sites)} SAEs; trained on {sizes['ambiguous']} ambiguous texts, the oracle on "
        f"{sizes['oracle']} balanced ones, judged on {sizes['test']} balanced ones of held-out modules. *topic*: how "
        "often the probe says the topic; *form*: how often it says the form (50%: it does not look at it).",
        "",
        *markdown(head, (cells(row) for row in rows)),
        "",
        f"{result['cpu']}, torch {result['torch']}, {result['date']}.",
    ]
    path.with_suffix(".md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
