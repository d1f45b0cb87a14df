"""Tokens per second of `LanguageModel.activations` against the bare Hugging Face forward pass of the same layers.

`python benchmarks/harvest.py [--model demo] [--layer 2]`: both run alternately on the same batch; the ratio of the
medians is the figure (asked: at least 0.9). Also timed: the whole `harvest` command's loop, writing shards.
"""

import argparse
import datetime
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from saebench.memory import keep_freed_memory

keep_freed_memory()

import torch
import transformers

from saebench.config import CorpusConfig, HarvestConfig
from saebench.corpus import open_corpus
from saebench.harvest import harvest
from saebench.lm import load_lm


def seconds(run: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--layer", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    lm = load_lm(arguments.model)
    hook = f"blocks.{arguments.layer}.hook_resid_post"
    folder = lm.source if arguments.model != "demo" else "saebench/assets/demo"
    bare = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    bare.h = bare.h[: arguments.layer + 1]
    bare.ln_f = torch.nn.Identity()
    corpus = open_corpus(CorpusConfig(), lm.tokenizer, lm.context_length)
    tokens = torch.from_numpy(next(corpus.blocks(arguments.batch)).tokens).long()

    @torch.no_grad()
    def run_bare() -> torch.Tensor:
        with lm.arithmetic():
            return bare(tokens, use_cache=False).last_hidden_state

    def run_ours() -> torch.Tensor:
        return lm.activations(tokens, [hook])[hook]

    torch.testing.assert_close(run_ours(), run_bare(), rtol=1e-4, atol=1e-4)
    half = arguments.repeats // 2 + 1
    times = [(seconds(run_bare), seconds(run_ours)) for _ in range(half)]
    sample_tokens = tokens.numel() * 128
    disk = Path(tempfile.mkdtemp())
    sample = open_corpus(CorpusConfig(max_tokens=sample_tokens), lm.tokenizer, lm.context_length)
    wall = seconds(lambda: harvest(HarvestConfig(hook_points=[hook]), lm, sample, disk / "harvest"))
    shutil.rmtree(disk)
    # before and after, since the speed of the machine drifts
    times += [(seconds(run_bare), seconds(run_ours)) for _ in range(half)]
    rates = [tokens.numel() / statistics.median(column) for column in zip(*times, strict=True)]
    print(f"{datetime.date.today()} · {platform.processor() or platform.machine()} · {torch.get_num_threads()} threads"
          f" · torch {torch.__version__} · {lm.precision}")  # fmt: skip
    print(f"batch {tuple(tokens.shape)}, layers 0–{arguments.layer} of {arguments.model}")
    print(f"bare forward pass     {rates[0]:>10,.0f} tokens/s")
    print(f"activations           {rates[1]:>10,.0f} tokens/s   ratio {rates[1] / rates[0]:.3f}")
    harvested = sample_tokens / wall
    print(
        f"harvest to disk       {harvested:>10,.0f} tokens/s   ratio {harvested / rates[0]:.3f} (tokenizing included)"
    )


if __name__ == "__main__":
    main()
