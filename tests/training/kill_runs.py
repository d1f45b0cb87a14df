"""Train in forked processes, killing each, until one finishes: `kill_runs.py OUT at-random|at-fsync SEED`.

Run as a program of its own because it forks; prints how many processes were killed.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from saebench.training import TrainConfig, train_all

CONFIG = {
    "sae": {"n_latents": 96, "rule": {"k": 4, "k_aux": 8, "dead_after": 1500}},
    "variants": [
        {},
        {"rule": {"name": "feature_choice", "k": 4, "mutual_tokens": 64 * 70}, "n_latents": 64},
        {"rule": {"name": "jumprelu", "target_l0": 4.0, "initial_l0": 12}},
    ],
    "tokens": 64 * 120,
    "batch": 64,
    "ring_rows": 1000,
    "log_every": 10,
    "checkpoint_every": 20,
}


class Dictionary:
    """Sparse sums of 48 fixed directions in 16 dimensions, in blocks of uneven sizes, as half precision."""

    d_model = 16

    def blocks(self, start: int = 0) -> Iterator[Tensor]:
        directions = torch.randn(48, 16, generator=torch.Generator().manual_seed(99))
        while True:
            g = torch.Generator().manual_seed(start)
            n = 100 + start % 7 * 13
            codes = torch.zeros(n, 48).scatter(
                1, torch.randint(0, 48, (n, 3), generator=g), torch.rand(n, 3, generator=g)
            )
            yield (codes @ directions).half()
            start += 1


def run(out: Path) -> None:
    """Train all variants side by side, each into a folder under `out`."""
    torch.set_num_threads(1)
    config = TrainConfig.model_validate(CONFIG)
    train_all(config, Dictionary(), [out / member.sae.rule.name for member in config.members()])


def die_at_fsync(number: int) -> None:
    """Kill this process when it has called fsync so many times."""
    calls, fsync = 0, os.fsync

    def counted(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(descriptor)

    os.fsync = counted


def await_rows(out: Path, number: int) -> None:
    """Wait for so many rows of metrics more, or for the end of the run."""

    def written() -> int:
        return sum(path.read_bytes().count(b"\n") for path in out.glob("*/metrics.jsonl"))

    target = written() + number
    while written() < target and not list(out.glob("*/sae.safetensors")):
        time.sleep(0.001)


def main(out: Path, how: str, seed: int) -> None:
    draw = random.Random(seed)
    killed = 0
    while True:
        pid = os.fork()
        if not pid:
            if how == "at-fsync":
                die_at_fsync(1 + killed * 5)
            run(out)
            os._exit(0)
        if how == "at-random" and killed < 8:
            await_rows(out, draw.randint(0, 8))
            time.sleep(draw.uniform(0, 0.02))
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            killed += 1
        elif status:
            raise SystemExit("the training process failed")
        else:
            break
    print(killed)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
