"""Two real processes train what one would: the same losses and weights, whole files, and they end together."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from distributed_worker import CASES
from safetensors.torch import load_file

WORKER = str(Path(__file__).parent / "distributed_worker.py")
LAYOUTS = ("data", "latents")
RULES = [name for name in CASES if name != "slow"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def free_ports(number: int) -> list[str]:
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [str(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start(*arguments: str) -> list[subprocess.Popen[str]]:
    """Two processes as torchrun would start them, but that none ends the other."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_ports(1)[0], "WORLD_SIZE": "2"}
    return [
        subprocess.Popen(
            [sys.executable, WORKER, *arguments],
            env=ENVIRONMENT | place | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


def finish(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors


def rows(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every case by one process, and in both layouts by two that torchrun started."""
    out = tmp_path_factory.mktemp("distributed")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1"]
    pair = [*torchrun, f"--master-port={free_ports(1)[0]}"]
    for start, layouts in (([sys.executable], ["one"]), (pair, LAYOUTS)):
        runs = [f"{layout}/{case}" for layout in layouts for case in CASES]
        done = subprocess.run(
            [*start, WORKER, "train", str(out), *runs], env=ENVIRONMENT, capture_output=True, text=True, timeout=500
        )
        assert done.returncode == 0, done.stderr
    return out


@pytest.mark.timeout(560)
@pytest.mark.parametrize("case", RULES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_loss_curve_is_that_of_one_process(trained, layout, case):
    ours, one = rows(trained / layout / case), rows(trained / "one" / case)
    assert [row["step"] for row in ours] == [row["step"] for row in one]
    for key in ("loss", "fvu", "l0", "dead"):
        assert [row[key] for row in ours] == pytest.approx([row[key] for row in one], abs=1e-4), key
    for mine, truth in zip(ours, one, strict=True):
        assert mine["parts"] == pytest.approx(truth["parts"], abs=1e-4)
    if "dead_after" in CASES[case]["rule"] and "choice" not in case and case != "reference":
        assert any(row["parts"].get("auxk", 0) > 0 for row in one)  # or AuxK would not have been tested


@pytest.mark.parametrize("case", RULES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_finished_sae_is_that_of_one_process(trained, layout, case):
    ours, one = (load_file(trained / name / case / "sae.safetensors") for name in (layout, "one"))
    assert set(ours) == set(one)
    for name in one:
        torch.testing.assert_close(ours[name], one[name], atol=1e-5, rtol=1e-4, equal_nan=True)
    folder = trained / layout / case
    assert sorted(p.name for p in folder.iterdir()) == [
        "config.json", "config.yaml", "metrics.jsonl", "sae.safetensors",
    ]  # fmt: skip
    assert (folder / "config.json").read_bytes() == (trained / "one" / case / "config.json").read_bytes()


def kill_at_checkpoint(processes: list[subprocess.Popen[str]], folder: Path, which: int) -> str:
    """Kill one process when a new checkpoint is there; what the other says, which must end by itself."""
    before = set(folder.glob("step-*.safetensors"))
    while not set(folder.glob("step-*.safetensors")) - before:
        assert all(process.poll() is None for process in processes), "ended before it could be killed"
        time.sleep(0.005)
    processes[which].send_signal(signal.SIGKILL)
    killed = time.monotonic()
    other = processes[1 - which]
    _, errors = other.communicate(timeout=60)
    assert time.monotonic() - killed < 40
    assert other.returncode == 1
    processes[which].communicate()
    return errors.strip().splitlines()[-1]


@pytest.mark.timeout(560)
def test_a_killed_process_ends_the_run_and_it_continues_to_the_bit(trained, tmp_path):
    run = tmp_path / "run"
    both = [f"{layout}/slow" for layout in LAYOUTS]
    for which, layout in enumerate(LAYOUTS):
        last = kill_at_checkpoint(
            start("train", str(run), *both), run / layout / "slow" / "checkpoints", which=1 - which
        )
        assert "another process of this run ended" in last
        # the same run goes on in one process, and in the other layout
        shutil.copytree(run / layout, run / "one" / layout / "one")
        shutil.copytree(run / layout, run / "other" / LAYOUTS[1 - which])
    finish(start("train", str(run), *both, *[f"other/{name}" for name in both]))
    subprocess.run(
        [sys.executable, WORKER, "train", str(run), *[f"one/{layout}/one/slow" for layout in LAYOUTS]],
        env=ENVIRONMENT, check=True, timeout=200,
    )  # fmt: skip
    times = ("seconds", "tokens_per_second")
    for layout in LAYOUTS:
        mine, truth = run / layout / "slow", trained / layout / "slow"
        for name in ("sae.safetensors", "config.json", "config.yaml"):
            assert (mine / name).read_bytes() == (truth / name).read_bytes()
        for a, b in zip(rows(mine), rows(truth), strict=True):
            assert {k: v for k, v in a.items() if k not in times} == {k: v for k, v in b.items() if k not in times}
        one = load_file(trained / "one" / "slow" / "sae.safetensors")
        for folder in (run / "one" / layout / "one", run / "other" / layout):
            for key, tensor in load_file(folder / "slow" / "sae.safetensors").items():
                torch.testing.assert_close(tensor, one[key], atol=1e-5, rtol=1e-4)


@pytest.mark.timeout(560)
def test_what_stops_one_process_stops_all_with_one_line_of_the_first(tmp_path):
    finish(start("faults", str(tmp_path / "said"), *free_ports(5)))
    first, second = (Path(f"{tmp_path / 'said'}.{rank}").read_text().splitlines() for rank in range(2))
    assert second == ["exit 1"] * 5
    assert first[1::2] == ["exit 1"] * 5
    nan, nan_latents, odd, elsewhere, full = first[::2]
    assert "training stopped after step" in nan
    assert "NaN or Inf" in nan
    assert "NaN or Inf" in nan_latents
    assert "n_latents = 127 is not a multiple of the 2 processes" in odd
    assert elsewhere == "this machine has no harvest (process 1)"
    assert "cannot write" in full
    assert "File too large" in full
    assert not (tmp_path / "said" / "odd").exists()
