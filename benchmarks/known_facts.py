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
from dataclasses import asdict
from pathlib import Path

from markdown import markdown
from timing import machine

from saebench.interventions import ClampActive, Hooked, Zero
from saebench.interventions.baselines import RMUConfig, rmu
from saebench.interventions.choosing.attribution import Make
from saebench.interventions.facts import (
    FactModelConfig,
    FactsConfig,
    halves,
    make_facts,
    sae_config,
    score,
    train_fact_model,
    train_fact_sae,
)
from saebench.interventions.facts.table import Row, by_direction, by_features, choose, spared

HOOK = "blocks.0.hook_resid_post"
CLAMPS = (5.0, 10.0, 30.0)
RETAIN_BELOW = (0.001, 0.01)
FEATURES = 50
DIRECTION_STRENGTHS = (1.0, 2.0, 5.0)
RMU = [
    RMUConfig(layer=1, blocks=2, c=c, alpha=alpha, lr=3e-3, steps=200, batch=32, seed=0)
    for c, alpha in ((5.0, 10.0), (20.0, 10.0), (20.0, 100.0))
]


def negative(strength: float) -> Make:
    """The negative clamp of Farrell et al."""
    return lambda sae, feature: ClampActive(sae=sae, feature=feature, activation=-strength)


def run(work: Path, about: dict) -> dict:
    """Train, unlearn in every way, and gather the rows."""
    facts = make_facts(FactsConfig())
    begun = time.perf_counter()
    lm = train_fact_model(facts, FactModelConfig(), work / "model")
    trained = time.perf_counter()
    sae = train_fact_sae(lm, facts, HOOK, sae_config(), work / "sae")
    ready = time.perf_counter()
    cut, hooked = halves(facts), Hooked(sae, HOOK)
    kinds: dict[str, Make] = {"zero": lambda name, feature: Zero(sae=name, feature=feature)}
    kinds |= {f"clamp −{strength:g}": negative(strength) for strength in CLAMPS}
    rows = [Row("none", "", 0, score(lm, facts, cut))]
    chosen = choose(lm, hooked, facts, cut, FEATURES, RETAIN_BELOW, negative(CLAMPS[-1]))
    rows += by_features(lm, hooked, facts, cut, chosen, kinds)
    rows += by_direction(lm, HOOK, facts, cut, DIRECTION_STRENGTHS)
    seen = list(facts.contexts(facts.forget[cut.seen]))
    for number, config in enumerate(RMU):
        tuned = rmu(lm, seen, spared(facts), config, work / f"rmu-{number}")
        rows.append(Row("RMU", f"c {config.c:g}, α {config.alpha:g}", 0, score(tuned, facts, cut)))
    return {
        **about, "facts": len(facts.forget), "model_seconds": round(trained - begun, 1),
        "sae_seconds": round(ready - trained, 1), "unlearn_seconds": round(time.perf_counter() - ready, 1),
        "rows": [
            {
                "method": row.method, "intervention": row.intervention, "features": row.features,
                **asdict(row.scored), "forget": row.scored.forget, "unlearned": row.unlearned,
            }
            for row in rows
        ],
    }  # fmt: skip


def report(found: dict) -> str:
    """The result as Markdown."""
    head = [
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
                row["method"], row["intervention"], row["features"] or "", f"{row['seen']:.1%}", f"{row['unseen']:.1%}",
                f"{row['keep']:.1%}", f"{row['neutral_loss'] - clean:+.3f}", "yes" if row["unlearned"] else "",
            ]
            for row in found["rows"]
        ],
    )  # fmt: skip
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
