"""The whole way in real processes, killed on the way and not."""

from pathlib import Path

import pytest
from killing import contents, finish, kill_at

from store import FeatureStore, StoreError


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
    return ["demo", "--no-serve", "--workspace", str(workspace), *overrides]


@pytest.fixture
def corpus_folder(texts: Path) -> Path:
    (texts / "long.txt").write_text((texts / "11.txt").read_text() * 12)
    return texts


@pytest.mark.timeout(560)
def test_killed_at_every_stage_it_ends_the_same(tiny_folder, corpus_folder, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(arguments(tiny_folder, corpus_folder, whole))
    stages = [
        "harvests/*/manifest.json",
        "harvests/*/*.00001.bin",
        "saes/*/config.yaml",
        "saes/*/checkpoints/*",
        "saes/*/sae.safetensors",
        "indexes/.building/*/*",
    ]
    assert kill_at(stages, arguments(tiny_folder, corpus_folder, killed), killed) >= 4
    finish(arguments(tiny_folder, corpus_folder, killed))
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
