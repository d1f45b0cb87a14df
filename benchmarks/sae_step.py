"""How near a training step is to its floor, the bare product: `python benchmarks/sae_step.py [--out FILE.json]`.

A step is the trainer's own: forward, loss, backward, projection of the decoder's gradient, clipping by the global norm,
Adam, unit rows, estimates; on random activations, at an L0 of k for every rule. The product is one call of torch.addmm
over the whole batch, in bfloat16 and in float32; step and products are timed alternately (see timing.py). First every
rule at one size, then TopK along each axis from there. Time of all threads together (cpu_time) is less moved by other
load than wall time is. Beside the times: by how much a step raises the memory of a fresh process above what stands
between steps (parameters and optimiser state) and the gradients. `--out FILE.json` also writes FILE.md.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import torch
from markdown import markdown
from timing import alternate, machine, peak_extra_bytes, ratio
from torch import Tensor

from saebench.saes import initialise
from saebench.training import TrainConfig
from saebench.training.state import State, new_state
from saebench.training.step import step

BASE = {"d": 512, "m": 16384, "k": 32, "batch": 2048}
AXES = {"m": (4096, 8192, 32768, 65536, 131072), "k": (16, 64, 128, 256), "batch": (512, 1024, 4096, 8192)}
PEERS_TASK = {"d": 256, "m": 4096, "k": 32, "batch": 4096}
RULES = {
    "topk": {},
    "batchtopk": {},
    "matryoshka": {},
    "mutual_choice": {},
    "feature_choice": {"mutual_tokens": 0},
    "jumprelu": {},
    "gated": {},
    "relu": {},
}
"""Settings of each rule beside its L0. Mutual and Feature Choice pay for aux_zipf; nothing is dead, so no AuxK."""


def new(shape: dict, rule: str, kernel: str, x: Tensor) -> State:
    """A run of one rule, fitted to x."""
    sparsity = {"initial_l0": shape["k"]} if rule in ("jumprelu", "gated", "relu") else {"k": shape["k"]}
    settings = {"name": rule} | sparsity | RULES[rule]
    config = TrainConfig.model_validate(
        {"sae": {"n_latents": shape["m"], "rule": settings}, "batch": shape["batch"], "device": "cpu", "kernel": kernel}
    )
    state = new_state(config.resolve(shape["d"]), shape["d"])
    initialise(state.sae, x)
    return state


def batch_of(shape: dict) -> Tensor:
    """The activations that every step is made on."""
    return torch.randn(shape["batch"], shape["d"], generator=torch.Generator().manual_seed(0))


def measure(
    shape: dict, rules: tuple[str, ...], repetitions: int, seconds: float, kernel: str, float32: bool = True
) -> list[dict]:
    """A row for each rule at one size, all timed against the same products."""
    x = batch_of(shape)
    states = {rule: new(shape, rule, kernel, x) for rule in rules}
    sae = states[rules[0]].sae
    W, b = sae.W_enc.detach().clone(), sae.b_enc.detach().clone()
    half = x.bfloat16(), W.bfloat16(), b.bfloat16()
    l0 = dict.fromkeys(rules, 0.0)

    def one(rule: str) -> None:
        l0[rule] = step(states[rule], x, 1e-5, clip=1.0).l0

    timed = {"product_bfloat16": lambda: torch.addmm(half[2], half[0], half[1].T)}
    if float32:
        timed["product_float32"] = lambda: torch.addmm(b, x, W.T)
    timed |= {rule: lambda rule=rule: one(rule) for rule in rules}
    times = alternate(timed, repetitions, seconds=0.7 * seconds)
    work = alternate(timed, max(3, repetitions // 3), warm_up=0, seconds=0.3 * seconds, clock=time.process_time)
    products = [name for name in timed if name not in rules]
    rows = []
    for rule in rules:
        extra = extra_memory(shape, rule, kernel)
        rows.append(shape | {
            "rule": rule, "l0": round(l0[rule], 1), "step_ms": round(statistics.median(times[rule]), 1),
            **{f"{name}_ms": round(statistics.median(times[name]), 1) for name in products},
            **{f"over_{name}": round(ratio(times, rule, name), 2) for name in products},
            **{f"cpu_time_over_{name}": round(ratio(work, rule, name), 2) for name in products},
            "over_first_rule": round(ratio(times, rule, rules[0]), 2),
            "cpu_time_over_first_rule": round(ratio(work, rule, rules[0]), 2),
            "rounds": len(times[rule]), "extra_memory_mib": round(extra / 2**20, 1),
            "extra_memory_over_dense": round(extra / (shape["batch"] * shape["m"] * 4), 3),
            "kernel": states[rule].sae.kernel.to_data(),
        })  # fmt: skip
    return rows


def extra_memory(shape: dict, rule: str, kernel: str) -> int:
    """Bytes a step takes above parameters, optimiser state and gradients, in a process of its own."""
    task = json.dumps({"shape": shape, "rule": rule, "kernel": kernel, "threads": torch.get_num_threads()})
    done = subprocess.run([sys.executable, __file__, "--memory", task], check=True, capture_output=True, text=True)
    return int(done.stdout)


def print_extra_memory(shape: dict, rule: str, kernel: str, threads: int) -> None:
    """The work of that process."""
    torch.set_num_threads(threads)
    x = batch_of(shape)
    state = new(shape, rule, kernel, x)
    for _ in range(2):
        step(state, x, 1e-5, clip=1.0)
    gradients = sum(p.numel() * p.element_size() for p in state.sae.parameters() if p.requires_grad)
    print(peak_extra_bytes(lambda: step(state, x, 1e-5, clip=1.0)) - gradients)


def show(row: dict) -> None:
    hidden = ("kernel", "d")
    print(" ".join(f"{key}={value}" for key, value in row.items() if key not in hidden), flush=True)


COLUMNS = {
    "ms": "step_ms", "÷ bf16 product": "over_product_bfloat16",
    "CPU time ÷ bf16 product": "cpu_time_over_product_bfloat16", "÷ TopK": "over_first_rule",
    "CPU time ÷ TopK": "cpu_time_over_first_rule", "MiB": "extra_memory_mib", "of dense": "extra_memory_over_dense",
}  # fmt: skip
SIZE = {"d": "d_in", "m": "latents", "k": "k", "batch": "batch"}


def table(results: dict) -> str:
    """The results as Markdown."""
    about = ("cpu", "instructions", "threads", "torch", "python", "date", "load_average_before", "rounds")
    first = results["rules"][0]
    results = results | {"rounds": first["rounds"], "instructions": ", ".join(results["instructions"])}
    lines = [
        "# A training step against the bare encoder product", "", f"Written by `{results['command']}`.", "",
        *(f"- {key.replace('_', ' ')}: {results[key]}" for key in about),
        "", "Medians over rounds; ratios are medians of each round's ratio. Memory is the peak above parameters,",
        "optimiser state and gradients, as a share of a dense float32 [batch, latents].",
        "", f"## Rules: {', '.join(f'{name} {first[key]:,}' for key, name in SIZE.items())}", "",
        *markdown(["rule", "L0", *COLUMNS], [[row["rule"], row["l0"], *_cells(row)] for row in results["rules"]]),
    ]  # fmt: skip
    kept = [name for name in COLUMNS if not name.endswith("TopK")]
    for axis, rows in results["axes"].items():
        lines += ["", f"## TopK: {SIZE[axis]}", ""]
        whole = sorted([first, *rows], key=lambda row: row[axis])
        lines += markdown([SIZE[axis], *kept], [[f"{row[axis]:,}", *_cells(row, kept)] for row in whole])
    return "\n".join(lines) + "\n"


def _cells(row: dict, names: Iterable[str] = COLUMNS) -> list[str]:
    return [f"{row[COLUMNS[name]]:g}" for name in names]


def keep(results: dict, out: Path | None) -> None:
    """Write what has been measured so far."""
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(results, indent=2) + "\n")
        out.with_suffix(".md").write_text(table(results))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=420, help="about how long to measure in all")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--kernel", default="auto")
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES))
    parser.add_argument("--no-axes", action="store_true", help="only the rules at the first size")
    parser.add_argument("--memory", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="also write the results as JSON")
    options = parser.parse_args()
    if options.memory:
        print_extra_memory(**options.memory)
        return
    if options.threads:
        torch.set_num_threads(options.threads)
    results: dict = machine() | {
        "command": " ".join(["python benchmarks/sae_step.py", *sys.argv[1:]]),
        "rules": [],
        "axes": {},
    }
    print(" ".join(f"{key}={value}" for key, value in results.items() if key not in ("rules", "axes")))
    begun = time.perf_counter()
    cells = [] if options.no_axes else [(axis, value) for axis, values in AXES.items() for value in values]
    share = options.seconds / 3 if cells else options.seconds
    results["rules"] = measure(BASE, tuple(options.rules), options.repetitions, share, options.kernel)
    for row in results["rules"]:
        show(row)
    keep(results, options.out)
    if cells:
        results["small"] = measure(PEERS_TASK, ("topk",), options.repetitions, 20, options.kernel)
        show(results["small"][0])
    for at, (axis, value) in enumerate(cells):
        left = options.seconds - (time.perf_counter() - begun)
        share = max(left, 10) / (len(cells) - at)
        rows = measure(BASE | {axis: value}, ("topk",), options.repetitions, share, options.kernel, float32=False)
        results["axes"].setdefault(axis, []).extend(rows)
        show(rows[0])
        keep(results, options.out)


if __name__ == "__main__":
    main()
