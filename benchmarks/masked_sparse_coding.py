"""Dictionary recovery from noisy sparse signals, with and without masking: `python benchmarks/masked_sparse_coding.py`.

The setting of Chidambaram et al. 2023's curve over the noise level (see `saebench.evaluation.synthetic.masked_coding`):
100 dimensions, 200 true atoms, 1000 learned, 5 active, 1000 signals, 500 epochs in batches of 200, 90 of 100
coordinates visible. Measured is the mean cosine distance of the true atoms to their nearest learned one, up to sign.

Each run is a line of results/masked_sparse_coding.jsonl, written when it ends: stopped and called again, the command
goes on. The table is results/masked_sparse_coding.md beside it. About 25 s a run on one core.
"""

import argparse
import json
import statistics
import time
from itertools import product
from pathlib import Path

import torch
from timing import machine
from torch.nn.functional import normalize

from saebench.evaluation.synthetic.masked_coding import (
    fit_dictionary,
    nearest_cosine_distance,
    noisy_signals,
    starting_dictionary,
)

D, TRUE, LEARNED, K, SIGNALS, VISIBLE = 100, 200, 1000, 5, 1000, 90
METHODS = {"reconstruction": D, "masking": VISIBLE}
STARTS = ("truth", "samples")
PUBLISHED = {  # read off the paper's figure, which starts from the truth
    "reconstruction": {0.01: 0.003, 0.0325: 0.055, 0.055: 0.176, 0.0775: 0.274, 0.1: 0.335},
    "masking": {0.01: 0.004, 0.0325: 0.037, 0.055: 0.082, 0.0775: 0.122, 0.1: 0.158},
}
TOLERANCE = 0.15
RESULTS = Path(__file__).parent / "results"


def measure(start: str, noise: float, method: str, seed: int) -> float:
    """One run; both methods see the same signals and begin at the same dictionary."""
    generator = torch.Generator().manual_seed(seed)
    true = normalize(torch.randn(TRUE, D, generator=generator), dim=1)
    begin = starting_dictionary(LEARNED, true, K, noise, generator, from_truth=start == "truth")
    signals = noisy_signals(SIGNALS, true, K, noise, generator)
    learned = fit_dictionary(begin, signals, K, METHODS[method], generator)
    return nearest_cosine_distance(true, learned)


def table(rows: list[dict]) -> str:
    """The rows as Markdown."""
    about = {key: sorted({str(row[key]) for row in rows}) for key in ("cpu", "threads", "python", "torch", "date")}
    lines = [
        "# Masked sparse coding",
        "",
        "Written by `python benchmarks/masked_sparse_coding.py`; runs in the .jsonl.",
        "",
    ]
    lines += [f"- {key}: {', '.join(values)}" for key, values in about.items()]
    for start in STARTS:
        lines += ["", f"## Start: {'true dictionary and samples' if start == 'truth' else 'samples only'}", ""]
        head = "| σ | method | mean cosine distance | standard deviation | seeds |"
        lines += [head + (" published | difference |" if start == "truth" else "")]
        lines += ["|---" * lines[-1].count("|", 1) + "|"]
        for noise, method in product(PUBLISHED["masking"], METHODS):
            key = (start, noise, method)
            found = [row["distance"] for row in rows if (row["start"], row["noise"], row["method"]) == key]
            if not found:
                continue
            mean = statistics.mean(found)
            spread = f"{statistics.stdev(found):.4f}" if len(found) > 1 else "–"
            line = f"| {noise} | {method} | {mean:.4f} | {spread} | {len(found)} |"
            if start == "truth":
                published = PUBLISHED[method][noise]
                off = mean / published - 1
                line += f" {published} | {off:+.1%}{'' if abs(off) <= TOLERANCE else ' (outside 15%)'} |"
            lines.append(line)
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "masked_sparse_coding.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(row["start"], row["noise"], row["method"], row["seed"]) for row in rows}
    for start, seed, noise, method in product(STARTS, range(options.seeds), PUBLISHED["masking"], METHODS):
        if (start, noise, method, seed) in done:
            continue
        begun = time.perf_counter()
        distance = measure(start, noise, method, seed)
        row = {"start": start, "noise": noise, "method": method, "seed": seed, "distance": distance}
        rows.append(row | {"seconds": round(time.perf_counter() - begun, 1)} | machine())
        with path.open("a") as file:
            file.write(json.dumps(rows[-1]) + "\n")
        (options.out / "masked_sparse_coding.md").write_text(table(rows))
        print(rows[-1], flush=True)


if __name__ == "__main__":
    main()
