"""How long a circuit takes and what memory: `python benchmarks/circuits.py WORKSPACE [--task NAME] [--out FILE.json]`.

Each measurement is a process of its own, so that its peak memory is its own: node effects and edges (no proof) on 100
examples with the whole set of SAEs, by `attrib` and by `ig`; then what grows: with examples (25, 50, 100), with
positions (prompts with text put before them, 1, 2, 4 times as long) and with the width of random dictionaries (1, 2, 4
times the set's). Times are of wall and of processor, whose sum over two cores a busy machine changes least.

WORKSPACE holds a set of SAEs, as `saebench circuit set configs/demo-circuits.yaml` makes it.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from markdown import markdown
from timing import machine

ROWS = [
    ("attrib", 100, 1, 1), ("ig", 100, 1, 1), ("attrib", 25, 1, 1), ("attrib", 50, 1, 1), ("attrib", 100, 2, 1),
    ("attrib", 100, 4, 1), ("attrib", 100, 1, 2), ("attrib", 100, 1, 4), ("ig", 25, 1, 1), ("ig", 50, 1, 1),
]  # fmt: skip
"""(method, examples, times the positions, times the width)."""
FILLER = "import os\n"


def measure(workspace: Path, task_name: str, method: str, examples: int, longer: int, wider: int) -> dict:
    """One discovery without its proof, in this process."""
    from saebench.memory import keep_freed_memory

    keep_freed_memory()  # as the command line does

    import torch

    from saebench.circuits.config import CircuitConfig
    from saebench.circuits.discover import discover
    from saebench.circuits.sets import find_set
    from saebench.circuits.sets_open import open_set
    from saebench.circuits.tasks.check import check_task
    from saebench.circuits.tasks.known import answers, keep_known
    from saebench.circuits.tasks.registry import TASKS
    from saebench.saes import SAE

    opened = open_set(workspace, find_set(workspace))
    lm, saes = opened.lm, opened.saes
    drawn = TASKS[task_name](lm.tokenizer, examples + 40, 0)
    task = keep_known(drawn, answers(lm, drawn))
    if longer > 1:
        own = len(check_task(task, lm.tokenizer, lm.context_length).clean[0])
        unit = len(lm.tokenizer.backend_tokenizer.encode(FILLER, add_special_tokens=False).ids)
        before = FILLER * (own * (longer - 1) // unit)
        pairs = (
            p.model_copy(update={"clean": before + p.clean, "patch": before + (p.patch or "")}) for p in task.pairs
        )
        task = task.model_copy(update={"pairs": tuple(pairs)})
    if wider > 1:
        saes = {name: SAE.create(sae.d_in, wider * sae.n_latents, sae.rule, 0).eval() for name, sae in saes.items()}
    length = len(check_task(task, lm.tokenizer, lm.context_length).clean[0])
    config = CircuitConfig(method=method, examples=examples, heldout=0, curve_points=0, sampled_nodes=0)  # type: ignore[arg-type]
    torch.set_num_threads(os.cpu_count() or 1)
    begun, spent = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        found = discover(lm, saes, task, config, Path(folder) / "work", "measured")
    return {
        "method": method, "examples": found.n_examples, "positions": length,
        "latents": next(iter(saes.values())).n_latents, "sites": len(saes), "nodes": len(found.nodes),
        "edges": len(found.edges), "seconds": round(time.perf_counter() - begun, 2),
        "cpu_seconds": round(time.process_time() - spent, 2),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }  # fmt: skip


def report(found: dict) -> str:
    """The result as Markdown."""
    columns = ("method", "examples", "positions", "latents", "nodes", "edges", "seconds", "cpu_seconds", "peak_gb")
    lines = ["# Circuits", "", "`benchmarks/circuits.py`; its docstring says what is measured.", ""]
    lines += markdown(columns, [[row[column] for column in columns] for row in found["rows"]])
    lines += ["", f"Task {found['task']}, {found['rows'][0]['sites']} sites and the tokens. {found['cpu']}, "]
    lines[-1] += f"{found['threads']} threads, load {found['load_average_before']} before, torch {found['torch']}, "
    lines[-1] += f"{found['date']}."
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--task", default="docstring-args")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--row", type=int, help="measure one of the rows in this process and print it")
    arguments = parser.parse_args()
    if arguments.row is not None:
        print(json.dumps(measure(arguments.workspace, arguments.task, *ROWS[arguments.row])))
        return
    about = machine()
    rows = []
    for row in range(len(ROWS)):
        command = [sys.executable, __file__, str(arguments.workspace), "--task", arguments.task, "--row", str(row)]
        environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
        out = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
        rows.append(json.loads(out.splitlines()[-1]))
        print(rows[-1], file=sys.stderr)
    found = {"task": arguments.task, "rows": rows, **about}
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=2) + "\n")
        arguments.out.with_suffix(".md").write_text(report(found))


if __name__ == "__main__":
    main()
