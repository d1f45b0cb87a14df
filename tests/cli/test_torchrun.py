"""`torchrun -m saebench train`: one SAE, one progress, one line where something is wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from saebench.saes import SAE
from store import Catalog

HOOKS = "harvest.hook_points=[blocks.1.hook_resid_post]"


def torchrun(workspace: Path, model: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    """Train with two processes on a harvest made by one."""
    overrides = [part for setting in (f"model.name={model}", *settings) for part in ("--set", setting)]
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "saebench",
         "train", "--workspace", str(workspace), "--id", "shared", *overrides],
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, timeout=200,
    )  # fmt: skip


@pytest.mark.timeout(300)
def test_two_processes_train_one_sae_or_say_in_one_line_why_not(tiny_folder, texts, tmp_path):
    small = ("train.tokens=2000", "train.batch=100", "train.ring_rows=400", "train.sae.rule.k=4", HOOKS)
    subprocess.run(
        [sys.executable, "-m", "saebench", "harvest", "--workspace", str(tmp_path), "--set",
         f"model.name={tiny_folder}", "--set", f"corpus.name={texts}",
         "--set", HOOKS],
        env=os.environ | {"HF_HUB_OFFLINE": "1"}, check=True, capture_output=True, timeout=200,
    )  # fmt: skip

    refused = torchrun(tmp_path, tiny_folder, *small, "train.sae.n_latents=97", "train.parallel=latents")
    assert refused.returncode == 1
    said = [line for line in refused.stderr.splitlines() if line.startswith("error:")]
    assert len(said) == 1
    assert "n_latents = 97 is not a multiple of the 2 processes" in said[0]
    assert not (tmp_path / "saes" / "shared").exists()

    done = torchrun(tmp_path, tiny_folder, *small, "train.sae.n_latents=96", "train.parallel=latents")
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).count("saes/shared") == 1
    assert SAE.load(tmp_path / "saes" / "shared").W_enc.shape[0] == 96
    assert [entry["id"] for entry in Catalog(tmp_path).all("sae")] == ["shared"]
