"""Unlearning where the truth is known: `python benchmarks/known_facts.py [--out FILE.json]`.

Trains a small model until it knows two disjoint sets of facts by heart, and an SAE on its residual stream. Then
unlearns one set by every way of choosing features (A: attribution, B: frequency, C: squared activation; random
features as dense as B's) and of intervening on them, and by ablating a direction and RMU. Every method sees half of
the facts to forget and is tried on both halves, on the facts to keep and on text about nobody (docs/known-facts.md).
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from markdown import markdown
from timing import machine

from saebench.interventions import ClampActive, Hooked, Intervention, Often, Zero
from saebench.interventions.baselines import RMUConfig, rmu
from saebench.interventions.choosing.guard import retained_share
from saebench.interventions.facts import (
    FactModelConfig,
    Facts,
    FactsConfig,
    halves,
    make_facts,
    sae_config,
    score,
    train_fact_model,
    train_fact_sae,
)
from saebench.interventions.facts.table import NAME, Kinds, Row, by_direction, by_features, choose, spared
from saebench.lm import LanguageModel

HOOKS = ("blocks.0.hook_resid_pre", "blocks.0.hook_resid_post")
CLAMPS = (5.0, 10.0, 30.0)
RETAIN_BELOW = (0.001, 0.01)
FEATURES = 20
DIRECTION_STRENGTHS = (1.0, 2.0, 5.0)
RMU = [
    RMUConfig(layer=1, blocks=2, c=c, alpha=alpha, lr=3e-3, steps=300, batch=32, seed=0)
    for c, alpha in ((80, 10), (80, 3), (160, 3))
]


def kinds(lm: LanguageModel, hooked: Hooked, facts: Facts) -> Kinds:
    """Zero, negative clamps (Farrell et al. 2024), and the strongest clamp behind the gate of DSG."""

    def clamp(strength: float, features: Sequence[int], when: Often | None = None) -> list[Intervention]:
        return [ClampActive(sae=NAME, feature=tuple(features), activation=-strength, when=when)]

    def guarded(features: Sequence[int]) -> list[Intervention]:
        share = retained_share(lm, hooked, features, spared(facts))
        return clamp(CLAMPS[-1], features, Often(feature=tuple(features), share=share))

    out: Kinds = {"zero": lambda features: [Zero(sae=NAME, feature=tuple(features))]}
    out = {**out, **{f"clamp −{strength:g}": partial(clamp, strength) for strength in CLAMPS}}
    return {**out, f"clamp −{CLAMPS[-1]:g}, DSG gate": guarded}


def run(work: Path, about: dict) -> dict:
    """Train, unlearn in every way, and gather the rows."""
    facts = make_facts(FactsConfig())
    begun = time.perf_counter()
    lm = train_fact_model(facts, FactModelConfig(), work / "model")
    spent = {"model_seconds": time.perf_counter() - begun, "sae_seconds": 0.0, "unlearn_seconds": 0.0}
    cut = halves(facts)
    rows = [Row("", "none", "", 0, score(lm, facts, cut))]
    for hook_point in HOOKS:
        begun = time.perf_counter()
        sae = train_fact_sae(lm, facts, hook_point, sae_config(), work / hook_point)
        ready = time.perf_counter()
        hooked = Hooked(sae, hook_point)
        removal = lambda sae, feature: ClampActive(sae=sae, feature=feature, activation=-CLAMPS[-1])  # noqa: E731
        chosen = choose(lm, hooked, facts, cut, FEATURES, RETAIN_BELOW, removal)
        rows += by_features(lm, hooked, facts, cut, chosen, kinds(lm, hooked, facts))
        rows += by_direction(lm, hook_point, facts, cut, DIRECTION_STRENGTHS)
        spent["sae_seconds"] += ready - begun
        spent["unlearn_seconds"] += time.perf_counter() - ready
    begun = time.perf_counter()
    seen = list(facts.contexts(facts.forget[cut.seen]))
    for number, config in enumerate(RMU):
        tuned = rmu(lm, seen, spared(facts), config, work / f"rmu-{number}")
        settings = f"c {config.c:g}, α {config.alpha:g}, {config.steps} steps"
        rows.append(Row("weights", "RMU", settings, 0, score(tuned, facts, cut)))
    spent["unlearn_seconds"] += time.perf_counter() - begun
    return {
        **about, "facts": len(facts.forget), **{name: round(seconds, 1) for name, seconds in spent.items()},
        "rows": [
            {
                "where": row.where, "method": row.method, "intervention": row.intervention, "features": row.features,
                **asdict(row.scored), "forget": row.scored.forget, "unlearned": row.unlearned,
            }
            for row in rows
        ],
    }  # fmt: skip


def report(found: dict) -> str:
    """The result as Markdown."""
    head = [
        "where",
        "chosen by",
        "intervention",
        "features",
        "forget, seen",
        "forget, unseen",
        "keep",
        "neutral loss",
        "unlearned",
    ]
    lines = ["# Unlearning known facts", "", "`benchmarks/known_facts.py`; its docstring says what is measured.", ""]
    clean = found["rows"][0]["neutral_loss"]
    lines += markdown(
        head,
        [
            [
                row["where"],
                row["method"],
                row["intervention"],
                row["features"] or "",
                *(f"{row[share]:.1%}" for share in ("seen", "unseen", "keep")),
                f"{row['neutral_loss'] - clean:+.3f}",
                "yes" if row["unlearned"] else "",
            ]
            for row in found["rows"]
        ],
    )
    lines += [
        "",
        f"{found['facts']} facts in each set. Neutral loss: nats per token added on text about nobody "
        f"({clean:.3f} without intervention). Unlearned: at most 5% of the facts to forget right, at least 99% of "
        f"those to keep. Model {found['model_seconds']} s, SAE {found['sae_seconds']} s, all unlearning "
        f"{found['unlearn_seconds']} s on {found['threads']} thread of {found['cpu']}, load "
        f"{found['load_average_before']} before; torch {found['torch']}, {found['date']}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--keep", type=Path, help="leave model, SAE and unlearned models in this folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(arguments.keep or Path(folder), machine())
    print(report(found))
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=2) + "\n")
        arguments.out.with_suffix(".md").write_text(report(found))


if __name__ == "__main__":
    main()
