"""The whole way in real processes, killed on the way and not."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from store import Catalog, FeatureStore, StoreError

COMMAND = [sys.executable, "-c", "from saebench.cli import main; main()"]


def arguments(model: Path, texts: Path, workspace: Path) -> list[str]:
    settings = {
        "model.name": model,
        "corpus.name": texts,
        "corpus.max_tokens": 4000,
        "harvest.hook_points": "[blocks.1.hook_resid_post]",
        "harvest.batch_contexts": 8,
        "harvest.shard_batches": 4,
        "train.tokens": 12000,
        "train.batch": 128,
        "train.ring_rows": 512,
        "train.checkpoint_every": 20,
        "train.sae.n_latents": 96,
        "train.sae.rule.k": 6,
        "evaluate.corpus.name": texts,
        "evaluate.corpus.max_tokens": 1500,
        "index.corpus.name": texts,
        "index.batch_contexts": 8,
        "index.part_batches": 2,
    }
    overrides = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return [*COMMAND, "demo", "--no-serve", "--workspace", str(workspace), *overrides]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


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
    return found | {kind: catalog.all(kind) for kind in ("corpus", "harvest", "sae", "index")}


@pytest.fixture
def corpus_folder(texts: Path) -> Path:
    (texts / "long.txt").write_text((texts / "11.txt").read_text() * 12)
    return texts


@pytest.mark.timeout(560)
def test_killed_at_every_stage_it_ends_the_same(tiny_folder, corpus_folder, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finished = subprocess.run(
        arguments(tiny_folder, corpus_folder, whole), env=environment(), capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    rng = random.Random(0)
    stages = [
        "harvests/*/manifest.json",
        "harvests/*/*.00001.bin",
        "saes/*/config.yaml",
        "saes/*/checkpoints/*",
        "saes/*/sae.safetensors",
        "indexes/.building/*/*",
    ]
    interrupted = 0
    for stage in stages:
        process = subprocess.Popen(
            arguments(tiny_folder, corpus_folder, killed), env=environment(), stdout=subprocess.DEVNULL
        )
        while process.poll() is None and not any(killed.glob(stage)):
            time.sleep(0.01)
        time.sleep(rng.random() * 0.2)
        interrupted += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert interrupted >= 4
    last = subprocess.run(
        arguments(tiny_folder, corpus_folder, killed), env=environment(), capture_output=True, text=True
    )
    assert last.returncode == 0, last.stderr
    assert contents(killed) == contents(whole)
    with FeatureStore.open(killed) as store:
        [sae] = store.saes()
        best = store.features(sae["id"]).order("max_activation desc").limit(1).rows()[0]
        assert store.feature(sae["id"], best["feature"]).top(1)[0].value == pytest.approx(best["max_activation"])
    weights = killed / "saes" / sae["id"] / "sae.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    with FeatureStore.open(killed) as store, pytest.raises(StoreError, match=r"made from another SAE .*saebench index"):
        store.features(sae["id"])
