"""The encode pass of an index beside its bare parts: `python benchmarks/index_pass.py WORKSPACE [--sae ID] [--out F]`

Alternately, on the same batches of the indexed corpus: the model alone; the SAE's `encode` alone on its activations;
the encode pass (model, encode, keeping the positive codes, joining batches, writing the parts); and the pass with a
model that has its answers ready. Then the whole command, from the start to the finished file, with one process and with
two under torchrun on the same cores, each with a share of the threads. Medians over the rounds; ratios are of speeds.
"""

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from markdown import markdown
from timing import alternate, machine, ratio

from saebench.cli.trained import model_of, open_sae
from saebench.corpus import open_corpus
from saebench.indexing import IndexConfig
from saebench.indexing.build import encode_batch, join
from store import IndexWriter


def passes(workspace: Path, sae: str | None, rounds: int) -> dict[str, list[float]]:
    """Milliseconds per part of each way, alternated."""
    trained = open_sae(workspace, sae)
    lm, config = model_of(trained), IndexConfig()
    corpus = open_corpus(config.corpus, lm.tokenizer, lm.context_length)
    batches = list(itertools.islice(corpus.blocks(config.batch_contexts), config.part_batches))
    hook = trained.hook_point
    tokens = [torch.from_numpy(batch.tokens).long() for batch in batches]
    kept = [torch.from_numpy(~batch.special) for batch in batches]

    @torch.no_grad()
    def activations() -> list[torch.Tensor]:
        return [lm.activations(ids, [hook])[hook] for ids in tokens]

    given = activations()
    rows = [x.float()[keep] for x, keep in zip(given, kept, strict=True)]

    @torch.no_grad()
    def encode() -> None:
        for x in rows:
            trained.sae.encode(x)

    with tempfile.TemporaryDirectory() as folder:
        writer = IndexWriter(Path(folder) / "staging", len(trained.sae.W_enc), corpus.length, {})

        def encoded(model: Any) -> None:
            writer.add(join(batches, [encode_batch(model, trained.sae, hook, batch) for batch in batches]))

        def prepared() -> None:
            answers = iter(given)
            encoded(SimpleNamespace(activations=lambda *_: {hook: next(answers)}))

        ways = {"model": activations, "encode": encode, "pass": lambda: encoded(lm), "given": prepared}
        times = alternate(ways, rounds)
        writer.close()
    return times


def commands(workspace: Path, sae: str | None, rounds: int) -> dict[str, float]:
    """Median seconds of the whole command with one process and with two, alternated, each in a copy of its own."""
    times: dict[str, list[float]] = {"1": [], "2": []}
    cores = os.cpu_count() or 1
    for _ in range(rounds):
        names = set()
        for n in times:
            with tempfile.TemporaryDirectory() as folder:
                copied = Path(folder) / "ws"
                shutil.copytree(workspace, copied, ignore=shutil.ignore_patterns("indexes", "harvests"))
                launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n}"] if n != "1" else []
                chosen = ["--sae", sae] if sae else []
                command = [sys.executable, *launcher, "-m", "saebench", "index", "--workspace", str(copied), *chosen]
                environment = os.environ | {"OMP_NUM_THREADS": str(max(cores // int(n), 1))}
                begun = time.perf_counter()
                subprocess.run(command, env=environment, check=True, capture_output=True)
                times[n].append(time.perf_counter() - begun)
                (path,) = (copied / "indexes").glob("*.duckdb")
                names.add(path.name)
        if len(names) > 1:
            raise SystemExit(f"one process and two made different files: {names}")
    return {name: statistics.median(found) for name, found in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--sae")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--commands", type=int, default=2, help="rounds of the whole command; 0: none")
    parser.add_argument("--out", type=Path, help="FILE.json; FILE.md is written beside it")
    arguments = parser.parse_args()
    times = passes(arguments.workspace, arguments.sae, arguments.rounds)
    rounds = list(zip(times["model"], times["encode"], times["pass"], strict=True))
    found = {
        "seconds_per_part": {name: round(statistics.median(ms) / 1e3, 3) for name, ms in times.items()},
        "pass_to_bare_with_model": round(statistics.median((lm + sae) / whole for lm, sae, whole in rounds), 3),
        "pass_to_encode_given_activations": round(ratio(times, "encode", "given"), 3),
        **machine(),
    }
    if arguments.commands:
        whole = commands(arguments.workspace, arguments.sae, arguments.commands)
        found["command_seconds"] = {f"{n} processes": round(value, 1) for n, value in whole.items()}
    print(json.dumps(found, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=2) + "\n")
        rows = [
            ["model alone, s per part", found["seconds_per_part"]["model"]],
            ["`encode` alone, s per part", found["seconds_per_part"]["encode"]],
            ["encode pass, s per part", found["seconds_per_part"]["pass"]],
            ["pass ÷ (model + encode), speed", found["pass_to_bare_with_model"]],
            ["pass ÷ encode, speed, activations given", found["pass_to_encode_given_activations"]],
            *([f"whole command, {name}, s", value] for name, value in found.get("command_seconds", {}).items()),
        ]
        head = [
            "# The encode pass of an index",
            "",
            "`benchmarks/index_pass.py`; its docstring says what is measured.",
            "",
        ]
        about = f"{found['cpu']}, torch {found['torch']}, {found['date']}."
        text = "\n".join([*head, *markdown(["", ""], rows), "", about]) + "\n"
        arguments.out.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
