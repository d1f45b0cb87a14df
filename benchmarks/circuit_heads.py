"""Which heads the demo model's tasks need: rankings against exact patching: `python benchmarks/circuit_heads.py`.

Truth: a head whose |exact effect|, its output exchanged for that on the patched prompt at all positions, is more than
`HEAD_SHARE` of the metric's whole difference between clean and patched prompts; an edge (the direct path from one head
to a later one), more than `EDGE_SHARE`, which is little: heads act together and through MLPs, and no single direct path
carries much. Rankings: discrete codes of O'Neill & Bui (with the outputs of all positions or
of the last, and each head's constant taken away or not; the paper has the mean, and leaves the constant), and the
effects of heads as nodes of a sparse feature circuit (`ig`, `attrib`), by their size. Another one is a line in
`RANKINGS`. ROC-AUC, and precision and recall of those that score above the mean.

A task is a row of results/circuit_heads.json, written when it is done: stopped and called again, the command goes on.
The tables are circuit_heads.md beside it. About three minutes a task on one core.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from markdown import markdown
from timing import machine

from saebench.circuits.batches import Batch, batches, logit_difference
from saebench.circuits.config import CircuitConfig
from saebench.circuits.discrete import Settings, harvest, identify
from saebench.circuits.effects import NodeSums
from saebench.circuits.family import effects_of
from saebench.circuits.heads import Edge, Head, above_mean, matched
from saebench.circuits.order import layer_of
from saebench.circuits.patching import edge_effects, head_effects
from saebench.circuits.sites import head_sites
from saebench.circuits.tasks.check import check_task
from saebench.circuits.tasks.known import answers, keep_known
from saebench.circuits.tasks.registry import TASKS
from saebench.lm import LanguageModel, load_lm

RESULTS = Path(__file__).parent / "results"
HEAD_SHARE, EDGE_SHARE = 0.1, 0.002
CODES = {
    "codes": ("mean", True),
    "codes, constant kept": ("mean", False),
    "codes, last position": ("last", True),
    "codes, last position, constant kept": ("last", False),
}
"""(pooling, centre) of each way to make codes; the second is the paper's."""

Ranking = Callable[[LanguageModel, Sequence[Batch]], dict[Head, float]]
"""A score for every head, the larger the more the head matters."""


def by_gradients(method: str) -> Ranking:
    """|effect| of heads as nodes of a sparse feature circuit, positions summed."""

    def rank(lm: LanguageModel, given: Sequence[Batch]) -> dict[Head, float]:
        sites = head_sites(lm)
        config = CircuitConfig(method=method)
        parts = [effects_of(lm, batch, sites, {}, logit_difference, config).nodes for batch in given]
        scores = {}
        for site in sites:
            sums = NodeSums.merged(part[site.hook_point] for part in parts)
            for head, effect in zip(sums.keys.tolist(), sums.effect.tolist(), strict=True):
                if head < site.n_nodes:  # behind the heads comes their error, of which there is none
                    scores[Head(layer_of(site.hook_point), head)] = abs(effect)
        return scores

    return rank


RANKINGS: dict[str, Ranking] = {"attrib": by_gradients("attrib"), "ig": by_gradients("ig")}


def known_examples(lm: LanguageModel, name: str, n: int) -> list[Batch]:
    """So many examples that the model gets right, as far as there are."""
    task = TASKS[name](lm.tokenizer, n + n // 2, 0)
    task = keep_known(task, answers(lm, task))
    return batches(check_task(task, lm.tokenizer, lm.context_length), 50, range(min(n, len(task.pairs))))


def measure(lm: LanguageModel, name: str, n: int, edge_n: int, seeds: int) -> dict:
    """All rankings of one task."""
    given = known_examples(lm, name, n)
    begun = time.perf_counter()
    patched = head_effects(lm, given)
    seconds = {"exact heads": time.perf_counter() - begun}
    truth = patched.true(HEAD_SHARE)
    few = known_examples(lm, name, edge_n)
    begun = time.perf_counter()
    exact_edges = edge_effects(lm, few)
    seconds["exact edges"] = time.perf_counter() - begun
    bar = EDGE_SHARE * abs(patched.clean - patched.patch)
    true_edges: set[Edge] = {edge for edge, effect in exact_edges.items() if abs(effect) > bar}

    heads: dict[str, list[dict]] = {}
    edges: dict[str, list[dict]] = {}
    for what, (pooling, centre) in CODES.items():
        begun = time.perf_counter()
        outputs = harvest(lm, given, pooling)
        seconds[f"harvest, {pooling}"] = time.perf_counter() - begun
        for seed in range(seeds):
            begun = time.perf_counter()
            found = identify(lm, outputs, Settings(seed=seed, centre=centre))
            seconds["identification"] = time.perf_counter() - begun
            heads.setdefault(what, []).append(asdict(matched(found.counts, above_mean(found.counts), truth)))
            edges.setdefault(what, []).append(asdict(matched(found.edges, above_mean(found.edges), true_edges)))
    for what, ranking in RANKINGS.items():
        begun = time.perf_counter()
        scores = ranking(lm, given)
        seconds[what] = time.perf_counter() - begun
        heads[what] = [asdict(matched(scores, above_mean(scores), truth))]
    return {
        "task": name, "examples": sum(map(len, given)),
        "metric": patched.clean, "metric_patch": patched.patch,
        "true_heads": sorted(map(str, truth)), "true_edges": sorted(f"{a} → {b}" for a, b in true_edges),
        "effects": {str(head): effect for head, effect in patched.effects.items()},
        "heads": heads, "edges": edges, "seconds": {key: round(value, 2) for key, value in seconds.items()},
    }  # fmt: skip


def mean_of(runs: list[dict], key: str) -> str:
    """The mean over seeds of one figure, where anything is true."""
    values = [run[key] for run in runs if run["n_true"] and run[key] is not None]
    return f"{statistics.mean(values):.3f}" if values else "–"


def table(rows: list[dict]) -> str:
    """The results as Markdown."""
    lines = ["# Heads and edges of the demo model's tasks", "", "Written by `python benchmarks/circuit_heads.py`.", ""]
    for key in ("cpu", "threads", "load_average_before", "torch", "date"):
        lines.append(f"- {key}: {', '.join(sorted({str(row['machine'][key]) for row in rows}))}")
    lines += [f"- seeds of the codes: {rows[0]['settings']['seeds']}; figures are their means", ""]
    truth = (
        [row["task"], row["examples"], f"{row['metric']:.2f}", f"{row['metric_patch']:.2f}",
         ", ".join(row["true_heads"]), len(row["true_edges"])]
        for row in rows
    )  # fmt: skip
    shares = f"heads over {HEAD_SHARE:.0%}", f"edges over {EDGE_SHARE:.1%}"
    head = ["task", "examples", "metric", "after the patch", *shares]
    lines += ["## Exact patching", "", *markdown(head, truth), ""]
    for part in ("heads", "edges"):
        names = list(rows[0][part])
        for key, title in (("roc_auc", "ROC-AUC"), ("precision", "Precision"), ("recall", "Recall")):
            body = [[row["task"], *(mean_of(row[part][name], key) for name in names)] for row in rows]
            every = [[run for row in rows for run in row[part][name]] for name in names]
            body.append(["**all**", *(mean_of(runs, key) for runs in every)])
            lines += [f"## {title}, {part}", "", *markdown(["task", *names], body), ""]
    spent = list(rows[0]["seconds"])
    lines += ["## Seconds", "", *markdown(["task", *spent], ([row["task"], *row["seconds"].values()] for row in rows))]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--edge-examples", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tasks", nargs="*", default=[name for name, made in TASKS.items() if made.models == "demo"])
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "circuit_heads.json"
    settings = {"examples": options.examples, "edge_examples": options.edge_examples, "seeds": options.seeds}
    rows = json.loads(path.read_text()) if path.exists() else []
    rows = [row for row in rows if row["settings"] == settings]
    lm = load_lm()
    for name in options.tasks:
        if name in {row["task"] for row in rows}:
            continue
        about = machine()
        found = measure(lm, name, options.examples, options.edge_examples, options.seeds)
        rows.append(found | {"settings": settings, "machine": about})
        path.write_text(json.dumps(rows, indent=1) + "\n")
        (options.out / "circuit_heads.md").write_text(table(rows))
        print(name, rows[-1]["seconds"], flush=True)


if __name__ == "__main__":
    main()
