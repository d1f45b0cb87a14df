"""What a dream costs and what it finds: `python benchmarks/dreaming.py WORKSPACE [--features N] --out FILE.json`.

The published settings (`DreamConfig`'s defaults: 8 prompts of 12 tokens, 300 iterations of 256 children) on features
drawn at random (seed 0) from those that fire; the model, the SAE and the index are opened before. Times are of wall and
of processor: the second changes least where other work runs beside. `corpus` is the strongest of the feature's eight
strongest examples, cut to 12 tokens that end at its peak and scored as the prompts are; `ratio` is the largest
activation of prompts as likely as that one or more, in shares of its activation; `survive` counts prompts of the
frontier whose text is tokenized to the same tokens; `random`, on request, is the largest activation of as many prompts
drawn at random.

WORKSPACE is one that `saebench demo` made; it is only read. The file is written anew after each feature.
"""

import argparse
import json
import os
import time
from pathlib import Path

from saebench.memory import keep_freed_memory

keep_freed_memory()

import numpy as np
import torch
from markdown import markdown
from timing import machine

from saebench.cli.dream import corpus_windows
from saebench.cli.trained import model_of, open_sae
from saebench.corpus.tokenization import vocabulary
from saebench.interventions.apply import Hooked
from saebench.interventions.dreaming import DreamConfig, dream
from saebench.interventions.dreaming.dream import allowed_tokens
from saebench.interventions.dreaming.prompts import Prompts
from saebench.interventions.dreaming.target import Target
from saebench.lm import LanguageModel
from store import FeatureStore

TARGET = 120
"""Seconds."""
HEAD = ("feature", "seconds", "cpu", "frontier", "survive", "largest", "at nats", "corpus", "at", "ratio", "random")


def measure(workspace: Path, lm: LanguageModel, hooked: Hooked, sae: str, feature: int, random: bool) -> dict:
    """One feature's row."""
    config = DreamConfig()
    corpus, windows = corpus_windows(workspace, sae, feature, config, None)
    begun, spent = time.perf_counter(), time.process_time()
    found = dream(lm, hooked, feature, config, 0, sae_id=sae, corpus=corpus, windows=windows)
    took = {"seconds": time.perf_counter() - begun, "cpu_seconds": time.process_time() - spent}
    example = found.examples[0] if found.examples else None
    print(feature, took, repr(found.best.text), found.gain, flush=True)
    return took | {
        "feature": feature,
        "frontier": [[one.activation, one.cross_entropy, one.survives, one.text] for one in found.frontier],
        "corpus": example and [example.activation, example.cross_entropy, example.text],
        "corpus_in_context": example and example.value,
        "ratio": found.gain,
        "random": by_chance(lm, hooked, feature, config) if random else None,
    }


def by_chance(lm: LanguageModel, hooked: Hooked, feature: int, config: DreamConfig) -> float:
    """The largest activation of as many random prompts as a dream scores."""
    prompts = Prompts(lm, Target(hooked, feature))
    allowed = allowed_tokens(lm, vocabulary(lm.tokenizer))
    n = config.iterations * config.population * (config.children + 1)
    drawn = torch.randint(len(allowed), (n, config.tokens), generator=torch.Generator().manual_seed(0))
    return float(prompts.whole(allowed[drawn]).activation.max())


def cells(row: dict) -> list[str]:
    """A row of the table."""
    best, corpus = row["frontier"][-1], row["corpus"]
    numbers = [row["feature"], f"{row['seconds']:.0f}", f"{row['cpu_seconds']:.0f}", len(row["frontier"])]
    numbers += [sum(one[2] for one in row["frontier"]), f"{best[0]:.2f}", f"{best[1]:.2f}"]
    numbers += [f"{corpus[0]:.2f}", f"{corpus[1]:.2f}"] if corpus else ["–", "–"]
    return [str(one) for one in numbers] + [
        "–" if one is None else f"{one:.2f}" for one in (row["ratio"], row["random"])
    ]


def report(result: dict) -> str:
    """The results as Markdown."""
    on = result["machine"]
    return "\n".join(
        [
            "# Dreaming", "", "`benchmarks/dreaming.py`; its docstring says what is measured. The aim is "
            f"{TARGET} s per feature on the demo model with 2 cores.", "",
            *markdown(HEAD, map(cells, result["rows"])), "",
            f"{result['sae']}. {on['cpu']}, {on['threads']} thread(s), load {on['load_average_before']} before, "
            f"torch {on['torch']}, {on['date']}.", "",
        ]
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--features", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--random", action="store_true", help="also score as many random prompts")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    on = machine()
    trained = open_sae(given.workspace, None)
    with FeatureStore.open(given.workspace, threads=1) as store:
        fires = [row["feature"] for row in store.features(trained.id).filter("not dead").order("feature").rows()]
    chosen = np.random.default_rng(0).choice(fires, given.features, replace=False).tolist()
    lm, hooked = model_of(trained), Hooked(trained.sae, trained.hook_point)
    result = {"machine": on, "sae": trained.id, "rows": []}
    for feature in chosen:
        result["rows"].append(measure(given.workspace, lm, hooked, trained.id, feature, given.random))
        given.out.write_text(json.dumps(result, indent=1) + "\n")
        given.out.with_suffix(".md").write_text(report(result))


if __name__ == "__main__":
    main()
