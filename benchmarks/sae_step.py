"""How near a training step is to its floor, the bare encoder product: `python benchmarks/sae_step.py [--out FILE]`.

A step is forward, backward, projection of the decoder gradient, Adam and unit rows, on random activations. The product
is one call of torch.addmm over the whole batch, in float32, and in bfloat16 for the record. They are timed alternately,
so that other load on the machine falls on all of them alike; medians, with the load average beside them. On a machine
that does other work too, set OMP_WAIT_POLICY=PASSIVE: else threads that spin at each barrier multiply the step's time.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from saebench.saes import initialise
from saebench.training import TrainConfig
from saebench.training.loop import step
from saebench.training.state import new_state

SHAPES = ({"d": 256, "m": 4096, "k": 32, "batch": 4096}, {"d": 512, "m": 16384, "k": 32, "batch": 2048})


def milliseconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return (time.perf_counter() - start) * 1e3


def measure(d: int, m: int, k: int, batch: int, repetitions: int, kernel: str) -> dict:
    config = TrainConfig.model_validate(
        {"sae": {"n_latents": m, "rule": {"k": k}}, "batch": batch, "kernel": kernel}
    ).resolve(d)
    state = new_state(config, d)
    x = torch.randn(batch, d, generator=torch.Generator().manual_seed(0))
    initialise(state.sae, x)
    W, b = state.sae.W_enc.detach().clone(), state.sae.b_enc.detach().clone()
    half = x.bfloat16(), W.bfloat16(), b.bfloat16()
    timed = {
        "product_float32_ms": lambda: torch.addmm(b, x, W.T),
        "product_bfloat16_ms": lambda: torch.addmm(half[2], half[0], half[1].T),
        "step_ms": lambda: step(state, x, 1e-4),
    }
    times: dict[str, list[float]] = {name: [] for name in timed}
    for repetition in range(repetitions + 2):
        for name, function in timed.items():
            spent = milliseconds(function)
            if repetition >= 2:
                times[name].append(spent)
    medians = {name: round(statistics.median(values), 2) for name, values in times.items()}
    ratios = [s / p for s, p in zip(times["step_ms"], times["product_float32_ms"], strict=True)]
    return {
        "d": d, "m": m, "k": k, "batch": batch, **medians,
        "step_over_float32_product": round(statistics.median(ratios), 2),
        "tokens_per_second": round(batch / medians["step_ms"] * 1e3),
        "kernel": config.kernel, "product": config.product,
    }  # fmt: skip


def machine() -> dict:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(), "threads": torch.get_num_threads(),
        "torch": str(torch.__version__), "load_average_before": round(os.getloadavg()[0], 2),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--kernel", default="auto")
    parser.add_argument("--out", type=Path, help="also write the results as JSON")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    results = machine() | {"shapes": []}
    print(" ".join(f"{key}={value}" for key, value in results.items() if key != "shapes"))
    for shape in SHAPES:
        row = measure(**shape, repetitions=options.repetitions, kernel=options.kernel)
        results["shapes"].append(row)
        print(" ".join(f"{key}={value}" for key, value in row.items()))
    if options.out:
        options.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
