"""Quality of our trainer's SAEs against those of the peers' own trainers: `python benchmarks/peers_quality.py`.

The demo model's activations are harvested once, shuffled once, and written as one file of rows: everyone trains on the
same rows in the same order, at the same width, batch and L0. The peers' trainers run in their environment (`make
install-peers`, see peers/train.py); their checkpoints are read by `saebench.saes.formats`, and one evaluator measures
everyone on held-out text: FVU, cross-entropy recovered, share of latents that never fire.

Each trained SAE is a line of results/peers_quality.jsonl: stopped and called again, the command goes on. At the end it
writes results/peers_quality.md. `--trainers`, `--rules` run a part of the plan; `--table` only writes the table.

Decisions:
- Learning rates are a grid on both sides; the best is chosen by held-out FVU, on both sides.
- Where a price sets the sparsity, ours is trained at several prices around an L0 of K, a peer's until one lands near
  it. They are compared at the peer's own L0: of ours log FVU and the other figures are interpolated linearly over
  log L0 between the two runs on either side.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from saebench.memory import keep_freed_memory

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
keep_freed_memory()

import numpy as np
from markdown import markdown
from peers.rows import Rows
from timing import machine

from saebench.config import CorpusConfig, HarvestConfig
from saebench.corpus import open_corpus
from saebench.evaluation import evaluate_reconstruction
from saebench.harvest import ShardSource, harvest
from saebench.lm import LanguageModel, load_lm
from saebench.saes import SAE, formats
from saebench.training import TrainConfig, train_all

HERE = Path(__file__).parent
WORK = HERE.parent / "build" / "peers_quality"
PEERS = HERE.parent / ".venv-peers" / "bin" / "python"
HOOK = "blocks.2.hook_resid_post"
WIDTH, K, BATCH, TOKENS, HELD_OUT = 2048, 32, 1024, 1_000_000, 32_768
TRAINERS = ("saebench", "SAELens", "sparsify", "dictionary_learning")
RULES = ("topk", "batchtopk", "mutual_choice", "jumprelu", "gated")
OUR_LR = 2.8e-3
"""Our default at this width."""
DEAD_AFTER = TOKENS // 50
"""Tokens without firing after which a latent counts as dead: our default for a run of this length, given to all."""


@dataclass(frozen=True)
class Trial:
    """SAEs to train: one, or one for each of several prices of sparsity."""

    trainer: str
    rule: str
    set: dict[str, Any]
    price: str | None = None
    """The setting that is the price."""
    prices: tuple[float, ...] = ()
    note: str = field(default="", compare=False)


def plan() -> list[Trial]:
    """Everything, ours first."""
    ours, trials = "saebench", []
    for lr in (OUR_LR, 5.7e-3, 1.4e-3, 7e-4):
        trials += [Trial(ours, rule, {"lr": lr, "k": K}) for rule in ("topk", "batchtopk", "mutual_choice")]
    for lr in (OUR_LR, 5.7e-3):
        trials.append(Trial(ours, "jumprelu", {"lr": lr}, "l0_weight", (1e-3, 1.72e-3, 3e-3)))
        trials.append(Trial(ours, "gated", {"lr": lr}, "l1_weight", (0.15, 0.211, 0.26, 0.4)))
    return trials + saelens() + sparsify() + dictionary_learning()


def saelens() -> list[Trial]:
    """SAELens: as it comes, and by its documentation's advice on scaling, warm-ups and JumpReLU."""
    peer = "SAELens"
    as_it_comes = {"lr": 3e-4, "normalize_activations": "none", "lr_warm_up_steps": 0, "lr_decay_steps": 0}
    revive = {"dead_feature_window": DEAD_AFTER // BATCH}
    steps = TOKENS // BATCH
    tanh = {"jumprelu_sparsity_loss_mode": "tanh", "jumprelu_bandwidth": 2.0, "jumprelu_init_threshold": 0.1,
            "pre_act_loss_coefficient": 3e-6, "l0_warm_up_steps": steps}  # fmt: skip
    gate = {"l1_warm_up_steps": steps // 20}
    trials = []
    for lr, l0_prices, l1_prices in ((3e-3, (0.5, 0.12), (3.1, 2.0)), (1e-3, (0.6,), (3.5,))):
        trials += [Trial(peer, rule, revive | {"lr": lr}) for rule in ("topk", "batchtopk")]
        trials.append(Trial(peer, "jumprelu", revive | tanh | {"lr": lr}, "l0_coefficient", l0_prices))
        trials.append(Trial(peer, "gated", gate | {"lr": lr}, "l1_coefficient", l1_prices))
    trials.append(Trial(peer, "topk", as_it_comes, note="as it comes"))
    return trials


def sparsify() -> list[Trial]:
    """sparsify: as it comes (SignSGD without a schedule, no AuxK), with AuxK, and with Adam over a grid."""
    peer = "sparsify"
    revive = {"auxk_alpha": 1 / 32, "dead_feature_threshold": DEAD_AFTER}
    default = (2**14 / WIDTH) ** 0.5
    trials = [Trial(peer, "topk", {"optimizer": "signum"}, note="as it comes")]
    adam = revive | {"optimizer": "adam"}
    trials += [Trial(peer, "topk", adam | {"lr": float(f"{times * 2e-4 * default:.2g}")}) for times in (3, 1, 9)]
    return [*trials, Trial(peer, "topk", revive | {"optimizer": "signum", "lr": float(f"{1e-3 * default:.2g}")})]


def dictionary_learning() -> list[Trial]:
    """dictionary_learning: its own rate (Gao et al.'s) and three times that."""
    peer = "dictionary_learning"
    rates = [float(f"{times * 2e-4 * (2**14 / WIDTH) ** 0.5:.2g}") for times in (3, 1)]
    return [Trial(peer, "topk", {"lr": lr, "dead_after": DEAD_AFTER}) for lr in rates]


def key(trial: Trial, settings: dict[str, Any]) -> str:
    """What tells one trained SAE from another."""
    shape = [WIDTH, K, BATCH, TOKENS]
    return json.dumps([trial.trainer, trial.rule, dict(sorted(settings.items())), shape])


def activations(lm: LanguageModel) -> Path:
    """The file of shuffled rows, harvested and written where it is missing."""
    path = WORK / "rows.npy"
    if path.exists():
        return path
    corpus = open_corpus(CorpusConfig(max_tokens=int(TOKENS * 1.1)), lm.tokenizer, lm.context_length)
    folder = WORK / "workspace" / "harvests" / f"{lm.name}.{corpus.id}"
    harvest(HarvestConfig(hook_points=[HOOK], precision="float16"), lm, corpus, folder)
    source = ShardSource(folder, HOOK)
    blocks, seen, rows = source.blocks(), 0, []
    for _ in range(-(-source.n_rows // source.block_rows)):
        rows.append(next(blocks).half().numpy())
        seen += len(rows[-1])
    order = np.random.default_rng(0).permutation(seen)
    np.save(WORK / "rows.tmp.npy", np.concatenate(rows)[order])
    (WORK / "rows.tmp.npy").replace(path)
    return path


def train_ours(trial: Trial, settings: dict[str, Any], rows: Rows, out: Path) -> tuple[SAE, float]:
    """Our trainer, by its default recipe but for `settings`; a ring of one batch keeps the order of the rows."""
    rule = {name: value for name, value in settings.items() if name not in ("lr", "warmup", "decay", "clip")}
    run = {name: value for name, value in settings.items() if name in ("warmup", "decay", "clip")}
    config = TrainConfig.model_validate(
        {"sae": {"n_latents": WIDTH, "lr": settings.get("lr"), "rule": {"name": trial.rule} | rule}}
        | {"tokens": rows.steps * BATCH, "batch": BATCH, "ring_rows": BATCH, "checkpoint_every": 1000} | run
    )  # fmt: skip
    seconds = 0.0

    def on_metrics(index: int, row: dict[str, Any]) -> None:
        del index
        nonlocal seconds
        seconds = row["seconds"]

    return train_all(config, rows, [out], on_metrics)[0], seconds


def train_peer(trial: Trial, settings: dict[str, Any], path: Path, rows: Rows, out: Path) -> tuple[SAE, float]:
    """A peer's trainer, in its environment; its checkpoint read as ours."""
    task = {"trainer": trial.trainer, "rule": trial.rule, "rows": str(path), "d": rows.d_model, "batch": BATCH,
            "tokens": TOKENS, "width": WIDTH, "k": K, "out": str(out), "seed": 0, "set": settings}  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    with (out / "log.txt").open("w") as log:
        subprocess.run([PEERS, HERE / "peers" / "train.py", json.dumps(task)], check=True, stdout=log, stderr=log)
    where = {"sparsify": out / "run" / "site", "dictionary_learning": out / "trainer_0"}.get(trial.trainer, out)
    return formats.load(where), json.loads((out / "seconds.json").read_text())


class Bench:
    """The rows so far, and the means to add to them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.path = options.out / "peers_quality.jsonl"
        self.lm = load_lm("demo")

    @property
    def done(self) -> list[dict[str, Any]]:
        """All rows on disk; several commands may add to them side by side."""
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def run(self, trial: Trial) -> None:
        """Train and measure what has no row yet."""
        if trial.price is None:
            self.one(trial, trial.set)
            return
        for price in trial.prices:
            self.one(trial, trial.set | {trial.price: price})

    def one(self, trial: Trial, settings: dict[str, Any]) -> dict[str, Any]:
        """The row of one SAE."""
        name = key(trial, settings)
        for row in self.done:
            if row["key"] == name:
                return row
        path = activations(self.lm)
        rows = Rows(path, BATCH, TOKENS)
        out = WORK / "saes" / "-".join([trial.trainer, trial.rule, *(f"{k}={v}" for k, v in sorted(settings.items()))])
        shutil.rmtree(out, ignore_errors=True)
        if trial.trainer == "saebench":
            sae, seconds = train_ours(trial, settings, rows, out)
        else:
            sae, seconds = train_peer(trial, settings, path, rows, out)
        corpus = open_corpus(
            CorpusConfig(name="stdlib-heldout", max_tokens=HELD_OUT), self.lm.tokenizer, self.lm.context_length
        )
        result = evaluate_reconstruction(self.lm, sae, HOOK, corpus.blocks(32))
        row = {
            "trainer": trial.trainer, "rule": trial.rule, "set": settings, "note": trial.note,
            "fvu": result.fvu, "l0": result.l0, "ce_recovered": result.ce_recovered, "dead": result.dead,
            "seconds": round(seconds, 1), "price": trial.price, "about": machine(), "key": name,
        }  # fmt: skip
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(" ".join(f"{k}={v}" for k, v in row.items() if k not in ("about", "key")), flush=True)
        return row


Row = dict[str, Any]


def at(rows: list[Row], l0: float) -> Row | None:
    """One setting at an L0: its only run, or between the two runs on either side; None beyond them."""
    if len(rows) == 1:
        return rows[0] | {"how": ""}
    below = max((row for row in rows if row["l0"] <= l0), key=lambda row: row["l0"], default=None)
    above = min((row for row in rows if row["l0"] > l0), key=lambda row: row["l0"], default=None)
    if below is None or above is None:
        return None
    share = math.log(l0 / below["l0"]) / math.log(above["l0"] / below["l0"])

    def between(name: str) -> float:
        return below[name] + share * (above[name] - below[name])

    return below | {
        "l0": l0, "fvu": math.exp(math.log(below["fvu"]) + share * math.log(above["fvu"] / below["fvu"])),
        "ce_recovered": between("ce_recovered"), "dead": between("dead"), "seconds": between("seconds"),
        "how": f"between {below['price']} {below['set'][below['price']]:g} and {above['set'][above['price']]:g}",
    }  # fmt: skip


def settings_of(rows: list[Row], trainer: str, rule: str) -> list[list[Row]]:
    """The runs of a trainer and rule by setting: those that differ in the price only belong together."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if (row["trainer"], row["rule"]) == (trainer, rule):
            fixed = {name: value for name, value in row["set"].items() if name != row["price"]}
            groups.setdefault(json.dumps(fixed, sort_keys=True), []).append(row)
    return list(groups.values())


def best_at(rows: list[Row], trainer: str, rule: str, l0: float) -> Row | None:
    """The setting of least FVU at an L0."""
    found = [figures for group in settings_of(rows, trainer, rule) if (figures := at(group, l0))]
    return min(found, key=lambda row: row["fvu"], default=None)


FAMILIES = {"topk": ("topk",), "batchtopk": ("batchtopk", "mutual_choice"), "jumprelu": ("jumprelu",),
            "gated": ("gated",)}  # fmt: skip
"""The rules of ours that are held against a rule of the peers."""


def cells(row: Row, *, priced: bool) -> list[str]:
    """Trainer, rule, settings and figures of a row."""
    shown = {name: value for name, value in row["set"].items() if name != "k" and (priced or name != row["price"])}
    settings = ", ".join(f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
                         for name, value in shown.items())  # fmt: skip
    return [row["trainer"], row["rule"], settings, f"{row['l0']:.1f}", f"{row['fvu']:.4f}",
            f"{row['ce_recovered']:.2%}", f"{row['dead']:.2%}", f"{row['seconds']:.0f}", row["note"]]  # fmt: skip


HEAD = ["trainer", "rule", "settings", "L0", "FVU", "CE recovered", "dead", "seconds", ""]


def against(rows: list[Row]) -> list[list[str]]:
    """Each peer's best run of a rule beside our default rate and our best at that run's L0."""
    body = []
    for theirs_rule, our_rules in FAMILIES.items():
        for trainer in TRAINERS[1:]:
            runs = [row for group in settings_of(rows, trainer, theirs_rule) for row in group]
            if not runs:
                continue

            def excess(row: Row, rule: str = our_rules[0]) -> float:
                ours = best_at(rows, TRAINERS[0], rule, row["l0"])
                return row["fvu"] / ours["fvu"] if ours else math.inf

            theirs = min(runs, key=excess)
            body.append(["**", *cells(theirs, priced=True)[:7], "", "", ""])
            for rule in our_rules:
                default = [row for row in rows if row["set"].get("lr") == OUR_LR]
                for which, among in (("default rate", default), ("best rate", rows)):
                    ours = best_at(among, TRAINERS[0], rule, theirs["l0"])
                    if ours is None:
                        continue
                    body.append([which, *cells(ours, priced=False)[:7], f"{ours['fvu'] / theirs['fvu']:.3f}",
                                 f"{(ours['ce_recovered'] - theirs['ce_recovered']) * 100:+.2f}",
                                 f"{(ours['dead'] - theirs['dead']) * 100:+.2f}"])  # fmt: skip
    return [[cell.replace("**", "peer") for cell in row] for row in body]


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    about = rows[0]["about"]
    dates = sorted({row["about"]["date"] for row in rows})
    lines = [
        "# Quality of SAEs, ours and the peers'", "",
        "Written by `python benchmarks/peers_quality.py`; each line of peers_quality.jsonl is one trained SAE.", "",
        f"- activations: {HOOK} of the demo model, {TOKENS:,} tokens of stdlib-train, one pass in one random order",
        f"- everyone: {WIDTH} latents, an L0 of {K} in training, batch {BATCH}, seed 0",
        f"- measured on {HELD_OUT:,} tokens of stdlib-heldout by `saebench.evaluation`; L0 is higher there where a "
        "threshold selects",
        f"- cpu: {about['cpu']}; torch {about['torch']}; {', '.join(dates)}",
        "- dead: latents that never fire on the held-out tokens; seconds: of training, on a machine with other load",
        "", "## Each peer's best setting, and ours at the same L0", "",
        *markdown(["", *HEAD[:7], "FVU ÷ peer's", "CE recovered, points more", "dead, points more"], against(rows)),
        "", "## All runs", "",
        *markdown(HEAD, [cells(row, priced=True) for trainer in TRAINERS for rule in RULES
                         for row in sorted(rows, key=lambda row: row["fvu"])
                         if (row["trainer"], row["rule"]) == (trainer, rule)]),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trainers", nargs="+", choices=TRAINERS, default=TRAINERS)
    parser.add_argument("--rules", nargs="+", choices=RULES, default=RULES)
    parser.add_argument("--table", action="store_true", help="only write the table of the rows that are there")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    WORK.mkdir(parents=True, exist_ok=True)
    bench = Bench(options)
    for trial in plan():
        if options.table or trial.trainer not in options.trainers or trial.rule not in options.rules:
            continue
        bench.run(trial)
    (options.out / "peers_quality.md").write_text(table(bench.done))


if __name__ == "__main__":
    main()
