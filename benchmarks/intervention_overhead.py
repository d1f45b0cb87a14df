"""What interventions cost in generation: `python benchmarks/intervention_overhead.py WORKSPACE [--out FILE.json]`.

WORKSPACE is one that `saebench demo` made; it is only read. Greedy generation behind a prompt with a cache, one token
at a time, without and with interventions on n features, in turn; the ratio is the median of the rounds' ratios, of
processor time, which other load changes little. For each number of features: adding (nothing is encoded), clamping
where active under the demo's own rule (TopK: latents compete, so every pre-activation is needed), the same under a
JumpReLU made of the same weights (only the rows of these features are multiplied), the same with the gate of dynamic
guardrails, and projecting. Then the dictionary grows: random SAEs of 1, 4 and 16 times the demo's latents.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from markdown import markdown
from timing import alternate, machine, ratio

from saebench.interventions import (
    Add,
    ClampActive,
    Hooked,
    Intervention,
    Often,
    Project,
    generate,
    intervened,
    open_saes,
    prompt_tokens,
)
from saebench.lm import LanguageModel
from saebench.saes import SAE, JumpReLU, TopK

Case = tuple[list[Intervention], dict[str, Hooked]]
PROMPT = "def read_config(path, encoding='utf-8'):\n    "
NUMBERS = (1, 5, 20, 100)
WIDER = (1, 4, 16)
TARGET = 1.25
CUT = 0.5
"""Threshold of the JumpReLU SAE."""


def jumprelu(sae: SAE) -> SAE:
    """The same weights under a rule without competition."""
    weights = (each.detach() for each in (sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec))
    log_threshold = torch.full((sae.n_latents,), CUT).log()
    return SAE(*weights, JumpReLU(), sae.normalise, log_threshold=log_threshold).eval()


def kinds(features: Sequence[int]) -> dict[str, list[Intervention]]:
    """What is measured, on each feature by an intervention of its own as a command line makes them."""

    def clamp(sae: str, when: Often | None = None) -> list[Intervention]:
        return [ClampActive(sae=sae, feature=f, activation=-2.0, when=when) for f in features]

    return {
        "add": [Add(sae="own", feature=f, activation=0.05 + f * 1e-6) for f in features],
        "clamp active, topk": clamp("own"),
        "clamp active, jumprelu": clamp("jumprelu"),
        "guardrail, jumprelu": clamp("jumprelu", Often(feature=tuple(features), share=0.05)),
        "project": [Project(sae="own", feature=f, factor=0.5) for f in features],
    }


def measure(lm: LanguageModel, n_tokens: int, repetitions: int, cases: dict[str, Case]) -> dict:
    """Ratio of each case's time to that of no intervention, and milliseconds a token of both."""
    prompt = prompt_tokens(lm, PROMPT)

    def run(interventions: list[Intervention], saes: dict[str, Hooked]) -> Callable[[], object]:
        def generated() -> None:
            if not interventions:
                done = generate(lm, prompt, n_tokens)
            else:
                with intervened(lm, interventions, saes):
                    done = generate(lm, prompt, n_tokens)
            lengths.append(len(done.tokens))

        return generated

    lengths: list[int] = []
    timed = {"none": run([], {})} | {name: run(*case) for name, case in cases.items()}
    times = alternate(timed, repetitions, clock=time.process_time)
    assert set(lengths) == {n_tokens}, "a text ended early: its time cannot be compared"
    middle = {name: sorted(own)[len(own) // 2] / n_tokens for name, own in times.items()}
    return {
        name: {"ratio": round(ratio(times, name, "none"), 3), "ms_per_token": round(middle[name], 3),
               "without": round(middle["none"], 3)}
        for name in cases
    }  # fmt: skip


def report(found: dict) -> str:
    """The result as Markdown."""
    names = list(found["features"][str(NUMBERS[0])])
    rows = [[n, *(f"{own[name]['ratio']:.2f}" for name in names)] for n, own in found["features"].items()]
    wide = [[n, *(f"{own[name]['ratio']:.2f}" for name in own)] for n, own in found["latents"].items()]
    return "\n".join(
        [
            "# Overhead of interventions on generation", "",
            "`benchmarks/intervention_overhead.py`; its docstring says what is measured.", "",
            "Time with n features in that without interventions; the aim is at most "
            f"{TARGET} for 20 features on the demo model.", "",
            *markdown(["features", *names], rows), "",
            "With 20 features, by the number of latents of the dictionary:", "",
            *markdown(["latents", *next(iter(found["latents"].values()))], wide), "",
            f"Without interventions {found['features']['1'][names[0]]['without']:.2f} ms of processor time a token, "
            f"{found['n_tokens']} tokens, {found['repetitions']} rounds. {found['cpu']}, {found['threads']} threads, "
            f"load {found['load_average_before']} before, torch {found['torch']}, {found['date']}.", "",
        ]
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--tokens", type=int, default=40)
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    about = machine()
    lm, saes = open_saes(given.workspace)
    (sae, point, _), *_ = saes.values()
    own = {"own": Hooked(sae, point), "jumprelu": Hooked(jumprelu(sae), point)}
    found: dict = {"features": {}, "latents": {}, "n_tokens": given.tokens, "repetitions": given.repetitions, **about}
    for n in NUMBERS:
        step = sae.n_latents // n
        cases = {name: (some, own) for name, some in kinds(range(0, n * step, step)).items()}
        found["features"][str(n)] = measure(lm, given.tokens, given.repetitions, cases)
        print(n, found["features"][str(n)], file=sys.stderr)
    for times in WIDER:
        wide = SAE.create(sae.d_in, times * sae.n_latents, TopK(k=32), 0).eval()
        them = {"own": Hooked(wide, point), "jumprelu": Hooked(jumprelu(wide), point)}
        some = kinds(range(0, 4000, 200))
        cases = {name: (some[name], them) for name in ("clamp active, topk", "clamp active, jumprelu", "add")}
        found["latents"][str(wide.n_latents)] = measure(lm, given.tokens, given.repetitions, cases)
        print(wide.n_latents, found["latents"][str(wide.n_latents)], file=sys.stderr)
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n")
        given.out.with_suffix(".md").write_text(report(found))
    print(report(found))


if __name__ == "__main__":
    main()
