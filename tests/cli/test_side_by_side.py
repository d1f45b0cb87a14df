"""One workspace, four real processes: two that index, one that trains, and this one, which reads all the while."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from store import Catalog, FeatureStore

HOOK = "blocks.1.hook_resid_post"
SMALL = ("train.tokens=2000", "train.batch=100", "train.ring_rows=400", "train.sae.rule.k=4", "train.sae.n_latents=96")


def start(verb: str, workspace: Path, model: Path, texts: Path, *arguments: str) -> subprocess.Popen[str]:
    settings = (f"model.name={model}", f"corpus.name={texts}", f"harvest.hook_points=[{HOOK}]",
                f"index.corpus.name={texts}", "index.batch_contexts=1", "index.part_batches=1", *SMALL)  # fmt: skip
    overrides = [part for setting in settings for part in ("--set", setting)]
    return subprocess.Popen(
        [sys.executable, "-m", "saebench", verb, "--workspace", str(workspace), *arguments, *overrides],
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors


@pytest.mark.timeout(400)
def test_reading_indexing_twice_and_training_at_once(tiny_folder, texts, tmp_path):
    workspace, other = tmp_path / "ws", tmp_path / "other"
    shutil.copytree(texts, other)
    finish(start("train", workspace, tiny_folder, texts, "--id", "one", "--stream"))
    finish(start("index", workspace, tiny_folder, texts))
    (old,) = (workspace / "indexes").glob("*.duckdb")

    busy = [
        start("index", workspace, tiny_folder, texts, "--sae", "one", "--set", "index.neighbours=5"),  # anew
        start("index", workspace, tiny_folder, other, "--sae", "one"),
        start("train", workspace, tiny_folder, texts, "--id", "two", "--stream"),
    ]
    reads = 0
    with FeatureStore.open(workspace) as opened:
        index = opened.index("one")
        before, strongest = index.features.rows(), opened.feature("one", 3).top()[0].value
        corpus = index.id.partition(".")[2]
        while any(process.poll() is None for process in busy):
            with FeatureStore.open(workspace) as fresh:
                assert fresh.index("one", corpus).features.rows() == before
                assert fresh.feature("one", 3, corpus).top()[0].value == strongest
                assert "one" in {entry["id"] for entry in fresh.saes()}
            opened.label("one", 3, f"read {reads}", author="reader")
            assert opened.labels("one").rows()[0]["label"] == f"read {reads}"
            reads += 1
            time.sleep(0.1)
        assert index.features.rows() == before
    finish(*busy)
    assert reads > 10
    assert {entry["id"] for entry in Catalog(workspace).all("sae")} == {"one", "two"}
    files = {entry["corpus"]: entry["file"] for entry in Catalog(workspace).all("index")}
    assert files.keys() == {corpus, "other"}
    assert files[corpus] != old.name
    with FeatureStore.open(workspace) as store:
        assert len(store.feature("one", 0, corpus).neighbours()) == 5
        assert store.features("one", "other").count() == 96
        assert store.feature("one", 3, "other").label() == f"read {reads - 1}"
