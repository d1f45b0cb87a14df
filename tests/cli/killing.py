"""A command killed on its way in real processes, and what it must leave behind in the end.

Those that are killed are forked from a process that has loaded what commands load, so that they begin at once; those
that run to their end are new, so that no order of a set or dict can be the same by chance alone.
"""

import hashlib
import json
import multiprocessing
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import torch

from saebench.cli import main
from store import Catalog

LOADED = multiprocessing.get_context("forkserver")
LOADED.set_forkserver_preload(["saebench.cli.demo", "transformer_lens.model_bridge", "datasets"])
COMMAND = [sys.executable, "-c", "from saebench.cli import main; main()"]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def finish(arguments: list[str]) -> None:
    """Run a command to its end."""
    finished = subprocess.run([*COMMAND, *arguments], env=environment(), capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


def begin(arguments: list[str]) -> multiprocessing.Process:
    """Start a command."""
    process = LOADED.Process(target=_command, args=(arguments, environment()))
    process.start()
    return process


def _command(arguments: list[str], variables: dict[str, str]) -> None:
    os.environ.update(variables)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    torch.set_num_threads(1)
    sys.argv = ["saebench", *arguments]
    main()


def kill_at(stages: list[str], arguments: list[str], workspace: Path) -> int:
    """Start a command once for each stage and kill it soon after a file of that pattern is there; returns how many of
    them had not ended by then.
    """
    rng = random.Random(0)
    interrupted = 0
    for stage in stages:
        process = begin(arguments)
        while process.is_alive() and not any(workspace.glob(stage)):
            time.sleep(0.01)
        time.sleep(rng.random() * 0.2)
        interrupted += process.is_alive()
        process.kill()
        process.join()
    return interrupted


def contents(workspace: Path) -> dict[str, object]:
    """Every file's hash; metrics without their times, the catalogue by its rows."""
    found: dict[str, object] = {}
    for path in sorted(workspace.rglob("*")):
        name = str(path.relative_to(workspace))
        if path.name == "metrics.jsonl":
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            found[name] = [{k: v for k, v in r.items() if k not in ("seconds", "tokens_per_second")} for r in rows]
        elif path.is_file() and not path.name.startswith("catalog.duckdb"):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    catalog = Catalog(workspace)
    return found | {kind: catalog.all(kind) for kind in ("corpus", "harvest", "sae", "set", "index")}
