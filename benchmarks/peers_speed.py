"""How long a whole training step takes, ours and the peers', in one process: see the command below.

    OMP_WAIT_POLICY=PASSIVE PYTHONPATH=. .venv-peers/bin/python benchmarks/peers_speed.py

(`make install-peers` first.) A step is forward, losses, backward, what the trainer does to gradients (projection,
clipping), the optimiser, unit decoder rows and the trainer's statistics. Everyone gets the same batch of random
activations; each round times every step and the two bare encoder products once, in turn (see timing.py). Beside wall
time: the CPU time of all threads, which other load on the machine changes less; and by how much a step raises the
memory of the process above what stands between steps (parameters, optimiser state, statistics), less the gradients.

Writes results/peers_speed.json and results/peers_speed.md.
"""

import argparse
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from saebench.memory import keep_freed_memory

keep_freed_memory()

import torch
from peers import steps
from sae_step import RULES, new
from timing import alternate, machine, peak_extra_bytes, ratio
from torch import Tensor

from saebench.training.step import step

RESULTS = Path(__file__).parent / "results"
SIZES = {"d": 512, "m": 16384, "k": 32, "batch": 2048}
PRODUCTS = ("product bfloat16", "product float32")
LIBRARIES = {"sparsify": "eai-sparsify", "SAELens": "sae-lens"}
TARGETS = [
    ("saebench topk", "product bfloat16", "at most", 2.0),
    ("sparsify topk, signum", "saebench topk", "at least", 4.0),
    ("sparsify topk, Adam", "saebench topk", "at least", 4.0),
    ("SAELens topk", "saebench topk", "at least", 15.0),
]


def peers(sizes: dict[str, int]) -> dict[str, steps.Step]:
    """The peers' steps by name."""
    shape = {"d": sizes["d"], "width": sizes["m"], "k": sizes["k"]}
    made: dict[str, steps.Step] = {
        "sparsify topk, signum": steps.sparsify(**shape, optimizer="signum"),
        "sparsify topk, Adam": steps.sparsify(**shape, optimizer="adam"),
        "sparsify topk, Adam, autocast": steps.sparsify(**shape, optimizer="adam", autocast=True),
        "SAELens topk": steps.saelens("topk", **shape),
        "SAELens topk, autocast": steps.saelens("topk", **shape, autocast=True),
        "SAELens topk, sparse activations": steps.saelens(
            "topk", **shape, use_sparse_activations=True, rescale_acts_by_decoder_norm=False
        ),
    }
    for rule in ("batchtopk", "jumprelu", "gated"):
        made[f"SAELens {rule}"] = steps.saelens(rule, **shape)
    return made


def measure(sizes: dict[str, int], rounds: int, seconds: float, kernel: str) -> list[dict]:
    """A row for each step and product."""
    x = torch.randn(sizes["batch"], sizes["d"], generator=torch.Generator().manual_seed(0))
    states = {f"saebench {rule}": new(sizes, rule, kernel, x) for rule in RULES}
    sae = states["saebench topk"].sae
    W, b = sae.W_enc.detach().clone(), sae.b_enc.detach().clone()
    half = x.bfloat16(), W.bfloat16(), b.bfloat16()
    timed: dict[str, Callable[[], object]] = {
        PRODUCTS[0]: lambda: torch.addmm(half[2], half[0], half[1].T),
        PRODUCTS[1]: lambda: torch.addmm(b, x, W.T),
    }
    timed |= {name: lambda state=state: step(state, x, 1e-5, clip=1.0) for name, state in states.items()}
    timed |= {name: lambda take=take: take(x) for name, take in peers(sizes).items()}
    wall = alternate(timed, rounds, warm_up=2, seconds=0.7 * seconds)
    work = alternate(timed, max(3, rounds // 2), warm_up=0, seconds=0.3 * seconds, clock=time.process_time)
    gradients = (2 * sizes["d"] * sizes["m"] + sizes["d"] + sizes["m"]) * 4
    dense = sizes["batch"] * sizes["m"] * 4
    rows = []
    for name in timed:
        extra = peak_extra_bytes(timed[name]) - (0 if name in PRODUCTS else gradients)
        rows.append({
            "name": name, "ms": round(statistics.median(wall[name]), 1),
            "cpu_ms": round(statistics.median(work[name]), 1),
            "over_bfloat16_product": round(ratio(wall, name, PRODUCTS[0]), 2),
            "over_float32_product": round(ratio(wall, name, PRODUCTS[1]), 2),
            "over_our_topk": round(ratio(wall, name, "saebench topk"), 2),
            "cpu_over_bfloat16_product": round(ratio(work, name, PRODUCTS[0]), 2),
            "cpu_over_our_topk": round(ratio(work, name, "saebench topk"), 2),
            "extra_memory_mib": round(extra / 2**20, 1), "extra_memory_over_dense": round(extra / dense, 3),
            "rounds": len(wall[name]),
        })  # fmt: skip
    return rows


def table(results: dict) -> str:
    """The results as Markdown."""
    about = {key: results[key] for key in ("cpu", "instructions", "threads", "torch", "python", "date")}
    about |= {"load average before and after": results["load_average"], "versions": results["versions"]}
    about |= {"sizes": results["sizes"], "our kernel": results["kernel"], "rounds": results["rows"][0]["rounds"]}
    lines = ["# A whole training step, ours and the peers'", "", f"Written by `{results['command']}`.", ""]
    lines += [f"- {key}: {_plain(value)}" for key, value in about.items()]
    lines += [
        "", "Medians over rounds; ratios are medians of each round's ratio. “Memory” is the peak above parameters,",
        "optimiser state and gradients (the process's VmHWM), in MiB and as a share of a dense float32 [B, M].",
        "", "| step | ms | ÷ bf16 product | ÷ fp32 product | ÷ our TopK | CPU ms | CPU ÷ bf16 product | CPU ÷ our TopK "
        "| memory | of dense |", "|---" * 10 + "|",
    ]  # fmt: skip
    for row in results["rows"]:
        cells = [row[key] for key in ("name", "ms", "over_bfloat16_product", "over_float32_product", "over_our_topk",
                                      "cpu_ms", "cpu_over_bfloat16_product", "cpu_over_our_topk",
                                      "extra_memory_mib", "extra_memory_over_dense")]  # fmt: skip
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    rows = {row["name"]: row for row in results["rows"]}
    lines += ["", "| asked | by wall time | by CPU time | |", "|---|---|---|---|"]
    for name, to, words, bound in TARGETS:
        which = "bfloat16_product" if to == PRODUCTS[0] else "our_topk"
        found, work = rows[name][f"over_{which}"], rows[name][f"cpu_over_{which}"]
        held = found <= bound if words == "at most" else found >= bound
        lines.append(f"| {name} {words} {bound} × {to} | {found} | {work} | {'holds' if held else 'missed'} |")
    return "\n".join(lines) + "\n"


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=400, help="about how long to measure in all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--kernel", default="auto")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    for name, size in SIZES.items():
        parser.add_argument(f"--{name}", type=int, default=size)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    sizes = {name: getattr(options, name) for name in SIZES}
    results = machine() | {
        "command": "OMP_WAIT_POLICY=PASSIVE PYTHONPATH=. .venv-peers/bin/python benchmarks/peers_speed.py",
        "arguments": sys.argv[1:], "sizes": sizes,
        "versions": {name: version(package) for name, package in LIBRARIES.items()},
    }  # fmt: skip
    before = results.pop("load_average_before")
    results["rows"] = measure(sizes, options.rounds, options.seconds, options.kernel)
    results["load_average"] = [before, machine()["load_average_before"]]
    results["kernel"] = str(_kernel(options.kernel, sizes))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "peers_speed.json").write_text(json.dumps(results, indent=1) + "\n")
    (options.out / "peers_speed.md").write_text(table(results))
    print(table(results))


def _kernel(kernel: str, sizes: dict[str, int]) -> dict:
    x: Tensor = torch.randn(256, sizes["d"])
    return new(sizes | {"m": 256}, "topk", kernel, x).sae.kernel.to_data()


if __name__ == "__main__":
    main()
