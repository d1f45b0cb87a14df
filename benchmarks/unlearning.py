"""What an unlearning run takes, and what comes of it: `python benchmarks/unlearning.py WORKSPACE [--choose METHOD]`

The defaults of `saebench unlearn run` on the demo's SAE, but for the way in which features are chosen, from questions
to samples, in a folder of its own beside the workspace's SAEs; wall and processor seconds, and every treatment and
baseline with its scores.
"""

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

from markdown import markdown
from timing import machine

from saebench.cli.unlearn.run import run
from saebench.interventions.scores.bootstrap import Estimate
from saebench.interventions.unlearning import ChoosingConfig, UnlearnConfig, UnlearningResult
from saebench.wording import label, treated


def share(estimate: Estimate) -> str:
    """A share with its interval."""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.0%}"
    return f"{estimate.value:.0%} ({estimate.low:.0%}–{estimate.high:.0%})"


def nats(estimate: Estimate | None) -> str:
    """Nats per token."""
    return "–" if estimate is None else f"{estimate.value:.3f}"


def table(result: UnlearningResult, about: dict) -> str:
    """The results as Markdown."""
    forget, controls = result.questions
    rows = [
        [f"{label(curve.name)}, baseline" if curve.baseline else label(curve.name), f"{point.strength:g}",
         share(point.scores.forget), share(point.scores.controls), nats(point.scores.ce_added), nats(point.scores.kl)]
        for curve in result.curves
        for point in curve.points
    ]  # fmt: skip
    topics = [[c.topic, c.before.n, share(c.after)] for c in result.side_effects.topics]
    picked = treated(result.picked.treatment, result.picked.strength)
    score = result.saebench.score if result.saebench else None
    lines = [
        "# Unlearning a topic of the demo model", "", "Written by `python benchmarks/unlearning.py WORKSPACE`.", "",
        f"{about['seconds']:.0f} s, {about['processor_seconds']:.0f} s of processors; {about['cpu']}, "
        f"{about['threads']} threads, load {about['load_average_before']} before, torch {about['torch']}, "
        f"{about['date']}.", "",
        f"{forget} questions to forget, {controls} controls, all right before; {len(result.candidates)} features by "
        f"{result.config.choose.method}; SAEBench's score {score}.", "",
        *markdown(["", "strength", "forget right", "controls right", "CE added", "KL"], rows), "",
        f"By topic, {picked}:", "", *markdown(["topic", "questions", "right after"], topics),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--choose", choices=["frequency", "squares"], default="frequency")
    parser.add_argument("--out", type=Path, help="folder of unlearning_METHOD.json and .md")
    options = parser.parse_args()
    about = machine()
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(options.workspace / "saes", Path(folder) / "saes")
        begun, spent = time.perf_counter(), time.process_time()
        result = run(Path(folder), None, UnlearnConfig(choose=ChoosingConfig(method=options.choose)))
    about |= {"seconds": time.perf_counter() - begun, "processor_seconds": time.process_time() - spent}
    text = table(result, about)
    print(text)
    if options.out:
        curves = [curve.model_dump() for curve in result.curves]
        found = options.out / f"unlearning_{options.choose}.json"
        found.write_text(json.dumps({**about, "curves": curves}, indent=1) + "\n")
        found.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
