"""Every SAE variant on activations whose features are known: `python benchmarks/synthetic_variants.py`.

SynthSAEBench-16k scaled to one CPU core: a tenth of the features in a quarter of the width, which leaves as many of
them active per dimension (0.05); the same law of firing, trees over two thirds of the features, the same correlations
and magnitudes. All variants see the same activations in the same order, have the same width (a quarter of the
features, as there) and the same L0: budget rules by k, JumpReLU by its target; the penalties of Gated and ReLU are
found on seed 0, by a line through the L0 of the weights of GRID.

Each trained SAE lies under build/, and each (model, variant, seed) is a line of results/synthetic_variants.jsonl:
stopped and called again, the command goes on. At the end it writes results/synthetic_variants.md beside it.
`--model flat` leaves the trees out, `--tokens` trains longer: what the ordering of the variants depends on.
"""

import argparse
import json
import math
import statistics
import time
from dataclasses import asdict, replace
from pathlib import Path

from saebench.memory import keep_freed_memory

keep_freed_memory()

from timing import machine

from saebench.evaluation.synthetic import Forest, SyntheticConfig, SyntheticModel, overlap, score
from saebench.training import TrainConfig, train_all

SCALED = SyntheticConfig(features=1536, d_model=192, forest=Forest(roots=12, branching=4, depth=3))
MODELS = {"scaled": SCALED, "flat": replace(SCALED, forest=Forest(roots=0))}
WIDTH = 384
L0 = 7  # of the 9.2 features active per token, the 384 most frequent make 7.0; SynthSAEBench takes 25 of 34
START = {"initial_l0": 4 * L0}
RULES: dict[str, dict] = {
    "topk": {"name": "topk", "k": L0},
    "batchtopk": {"name": "batchtopk", "k": L0},
    "mutual_choice": {"name": "mutual_choice", "k": L0},
    "feature_choice": {"name": "feature_choice", "k": L0},
    "matryoshka": {"name": "matryoshka", "k": L0, "prefixes": [1 / 32, 1 / 8, 1 / 2, 1]},  # SynthSAEBench's
    "jumprelu": {"name": "jumprelu", "target_l0": L0, "l0_weight": 0.3} | START,
    # with SynthSAEBench's bandwidth
    "jumprelu_wide": {"name": "jumprelu", "target_l0": L0, "l0_weight": 0.3, "bandwidth": 1.0} | START,
    "gated": {"name": "gated"} | START,
    "relu": {"name": "relu"} | START,
    "archetypal": {"name": "archetypal", "k": L0},
}
GRID = {"gated": (0.13, 0.22), "relu": (0.035, 0.06)}
PUBLISHED = {  # arXiv 2602.14687 at L0 25: F1, MCC, uniqueness, explained variance
    "batchtopk": (0.732, 0.757, 0.984, 0.792),
    "matryoshka": (0.879, 0.793, 0.999, 0.779),
    "jumprelu_wide": (0.732, 0.753, 0.989, 0.795),
    "relu": (0.556, 0.604, 0.898, 0.765),
}
COLUMNS = ("f1", "precision", "recall", "mcc", "uniqueness", "explained_variance", "relative_bias", "dead", "l0")
RESULTS = Path(__file__).parent / "results"
WORK = Path(__file__).parent.parent / "build" / "synthetic_variants"


class Bench:
    """The rows so far, and the means to add to them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        options.out.mkdir(parents=True, exist_ok=True)
        self.path = options.out / "synthetic_variants.jsonl"
        self.rows = [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []
        self.model = SyntheticModel(MODELS[options.model])

    def find(self, label: str, seed: int) -> dict | None:
        """The row of a variant on this model after this many tokens."""
        key = (self.options.model, self.options.tokens, label, seed)
        found = [row for row in self.rows if (row["model"], row["tokens"], row["label"], row["seed"]) == key]
        return found[0] if found else None

    def train(self, variants: dict[str, dict], seed: int) -> None:
        """Train the variants that have no row yet from one stream, score them, write their rows."""
        todo = {label: rule for label, rule in variants.items() if not self.find(label, seed)}
        if not todo:
            return
        config = TrainConfig.model_validate(
            {
                "sae": {"n_latents": WIDTH},
                "variants": [{"rule": rule, "label": label} for label, rule in todo.items()],
                "tokens": self.options.tokens, "batch": 1024, "ring_rows": 32_768, "seed": seed,
                "log_every": 100, "checkpoint_every": 500,
            }
        )  # fmt: skip
        folder = WORK / f"{self.options.model}-{self.options.tokens}" / str(seed)
        begun = time.perf_counter()
        saes = train_all(config, self.model, [folder / label for label in todo])
        seconds = (time.perf_counter() - begun) / len(todo)
        members = zip(todo.items(), config.members(), saes, strict=True)
        for (label, rule), member, sae in members:
            row = {"model": self.options.model, "tokens": self.options.tokens, "label": label, "seed": seed}
            scores = asdict(score(sae, self.model))
            row |= {"held_out": scores.pop("tokens")} | scores | {"seconds": round(seconds, 1)}
            row |= {"rule": rule, "config": member.resolve(self.model.d_model).model_dump(mode="json")} | machine()
            self.rows.append(row)
            with self.path.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(label, seed, {key: round(row[key], 3) for key in COLUMNS}, flush=True)

    def weight(self, name: str) -> float:
        """The penalty at which a rule of GRID has the wanted L0 on seed 0: a line through log weight over log L0."""
        points = []
        for weight in GRID[name]:
            row = self.find(f"{name}@{weight}", 0)
            assert row is not None
            points.append((math.log(row["l0"]), math.log(weight)))
        (a, u), (b, v) = points
        return round(math.exp(u + (v - u) * (math.log(L0) - a) / (b - a)), 4)


def table(rows: list[dict]) -> str:
    """All rows as Markdown, a table for each model and number of tokens."""
    about = {key: sorted({str(row[key]) for row in rows}) for key in ("cpu", "threads", "python", "torch", "date")}
    lines = ["# Variants on synthetic data", "", "Written by `python benchmarks/synthetic_variants.py`.", ""]
    lines += [f"- {key}: {', '.join(values)}" for key, values in about.items()]
    for model, tokens in sorted({(row["model"], row["tokens"]) for row in rows}):
        part = [row for row in rows if (row["model"], row["tokens"]) == (model, tokens) and "@" not in row["label"]]
        if not part:
            continue
        config, generator = MODELS[model], SyntheticModel(MODELS[model])
        lines += ["", f"## Model {model}, {tokens:,} tokens, {WIDTH} latents", ""]
        lines += [
            f"{config.features} features in {config.d_model} dimensions (overlap ρ {overlap(generator.directions):.3f})"
            f", {config.forest.size} of them in trees; true L0 {part[0]['true_l0']:.2f}; "
            f"settings of the generator: `{json.dumps(asdict(config))}`",
            "",
            "Mean over seeds ± standard deviation; in brackets SynthSAEBench-16k's published value at L0 25.",
            "",
            "| variant | seeds | " + " | ".join(column.replace("_", " ") for column in COLUMNS) + " |",
            "|---" * (len(COLUMNS) + 2) + "|",
        ]
        order = {label: statistics.mean(r["f1"] for r in part if r["label"] == label) for label in RULES
                 if any(r["label"] == label for r in part)}  # fmt: skip
        for label in sorted(order, key=order.__getitem__, reverse=True):
            mine = [row for row in part if row["label"] == label]
            cells = []
            for column in COLUMNS:
                values = [row[column] for row in mine]
                cell = f"{statistics.mean(values):.3f}"
                if len(values) > 1:
                    cell += f" ± {statistics.stdev(values):.3f}"
                published = ("f1", "mcc", "uniqueness", "explained_variance")
                if label in PUBLISHED and column in published:
                    cell += f" ({PUBLISHED[label][published.index(column)]:.3f})"
                cells.append(cell)
            weight = mine[0]["rule"].get("l1_weight")
            name = label if weight is None else f"{label}, weight {weight}"
            lines.append(f"| {name} | {len(mine)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=MODELS, default="scaled")
    parser.add_argument("--tokens", type=int, default=2_500_000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES))
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    bench = Bench(options)
    rules = {name: RULES[name] for name in options.rules}
    plain = {name: rule for name, rule in rules.items() if name not in GRID}
    grid = {f"{name}@{weight}": rules[name] | {"l1_weight": weight}
            for name in rules if name in GRID for weight in GRID[name]}  # fmt: skip
    bench.train(plain | grid, 0)
    penalised = {name: rules[name] | {"l1_weight": bench.weight(name)} for name in rules if name in GRID}
    for seed in range(options.seeds):
        bench.train(plain | penalised, seed)
        (options.out / "synthetic_variants.md").write_text(table(bench.rows))


if __name__ == "__main__":
    main()
