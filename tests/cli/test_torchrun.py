"""`torchrun -m saebench train` and `index`: one result, one progress, one line where something is wrong."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sample_text import write_texts

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


def index_command(workspace: Path, model: Path, texts: Path, *settings: str) -> list[str]:
    pairs = (f"model.name={model}", f"index.corpus.name={texts}", "index.batch_contexts=2", "index.part_batches=2")
    overrides = [part for setting in (*pairs, *settings) for part in ("--set", setting)]
    return ["-m", "saebench", "index", "--workspace", str(workspace), *overrides]


def rank(number: int, port: int, command: list[str]) -> subprocess.Popen[str]:
    """One of two processes as torchrun starts them on two machines."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "LOCAL_RANK": "0"}
    environment = os.environ | place | {"RANK": str(number), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen([sys.executable, *command], env=environment, stderr=subprocess.PIPE, text=True)


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """As everywhere, but one folder for all tests here: an index keeps where it is."""
    return write_texts(tmp_path_factory.mktemp("texts") / "texts")


@pytest.fixture(scope="module")
def indexed(tiny_folder, texts, tmp_path_factory):
    """A workspace with an SAE, and the index that one process makes of it."""
    workspace = tmp_path_factory.mktemp("indexed") / "one" / "ws"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    settings = (f"model.name={tiny_folder}", f"corpus.name={texts}", HOOKS, "train.tokens=2000", "train.batch=100",
                "train.ring_rows=400", "train.sae.n_latents=96", "train.sae.rule.k=4")  # fmt: skip
    overrides = [part for setting in settings for part in ("--set", setting)]
    train = ["-m", "saebench", "train", "--stream", "--workspace", str(workspace), "--id", "one", *overrides]
    subprocess.run([sys.executable, *train], env=environment, check=True, capture_output=True, timeout=200)
    done = workspace.with_name("done")
    shutil.copytree(workspace, done)
    command = index_command(done, tiny_folder, texts)
    subprocess.run([sys.executable, *command], env=environment, check=True, capture_output=True, timeout=200)
    (truth,) = (done / "indexes").glob("*.duckdb")
    return workspace, truth


@pytest.mark.timeout(400)
def test_two_machines_that_share_only_a_folder_make_the_index_of_one(indexed, tiny_folder, texts, tmp_path):
    workspace, truth = indexed
    port, shared = free_port(), tmp_path / "shared"
    machines = [tmp_path / name / "ws" for name in ("first", "second")]
    for machine in machines:
        shutil.copytree(workspace, machine)
    ranks = [
        rank(n, port, index_command(machine, tiny_folder, texts, f"index.parts=file://{shared}"))
        for n, machine in enumerate(machines)
    ]
    for process in ranks:
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors
    (path,) = (machines[0] / "indexes").glob("*.duckdb")
    assert path.name == truth.name
    assert path.read_bytes() == truth.read_bytes()
    assert not list((machines[1] / "indexes").glob("**/*.*"))
    assert not list(shared.glob("*"))
    assert [entry["file"] for entry in Catalog(machines[0]).all("index")] == [truth.name]
    assert not Catalog(machines[1]).all("index")


@pytest.mark.timeout(400)
def test_a_killed_process_ends_the_other_and_one_process_goes_on(indexed, tiny_folder, texts, tmp_path):
    workspace, truth = indexed
    copied = tmp_path / "ws"
    shutil.copytree(workspace, copied)
    command = index_command(copied, tiny_folder, texts)
    port = free_port()
    ranks = [rank(n, port, command) for n in range(2)]
    while not list((copied / "indexes").glob(".building/*/contexts-*.parquet")):
        assert all(process.poll() is None for process in ranks), "ended before it could be killed"
        time.sleep(0.01)
    ranks[1].send_signal(signal.SIGKILL)
    _, errors = ranks[0].communicate(timeout=60)
    ranks[1].communicate()
    assert ranks[0].returncode == 1
    assert "another process of this run ended" in errors.strip().splitlines()[-1]
    assert not list((copied / "indexes").glob("*.duckdb"))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    staged = set((copied / "indexes").glob(".building/*/contexts-*.parquet"))
    assert staged
    subprocess.run([sys.executable, *command], env=environment, check=True, capture_output=True, timeout=200)
    (path,) = (copied / "indexes").glob("*.duckdb")
    assert path.name == truth.name
    assert path.read_bytes() == truth.read_bytes()
