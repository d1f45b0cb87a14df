"""Real training processes killed at random moments and at every write end in the very same files."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "kill_runs.py"
TIMES = ("seconds", "tokens_per_second")


def train(out: Path, how: str, seed: int = 0) -> int:
    command = [sys.executable, str(SCRIPT), str(out), how, str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def rows(out: Path) -> list[dict]:
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]


MEMBERS = ("topk", "feature_choice", "jumprelu")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    assert train(out, "not") == 0
    return out


def test_uninterrupted_run(whole):
    for member in MEMBERS:
        out = whole / member
        assert sorted(p.name for p in out.iterdir()) == [
            "config.json", "config.yaml", "metrics.jsonl", "sae.safetensors",
        ]  # fmt: skip
        assert [row["step"] for row in rows(out)] == list(range(10, 121, 10))
    metrics = rows(whole / "topk")
    assert set(metrics[0]) | set(TIMES) == {
        "step", "tokens", "seconds", "loss", "l0", "fvu", "dead", "lr", "tokens_per_second", "parts",
    }  # fmt: skip
    assert any(row["dead"] > 0 for row in metrics)  # or the counters and AuxK would not have been tested
    assert any(row["parts"].get("auxk", 0) > 0 for row in metrics)


@pytest.mark.parametrize(("how", "seed"), [("at-random", 0), ("at-fsync", 0)])
def test_killed_and_continued_equals_uninterrupted(whole, tmp_path, how, seed):
    killed = train(tmp_path / "run", how, seed)
    assert 5 <= killed <= 60  # each process goes on from the last: without that, death at fsync would come for ever
    for member in MEMBERS:
        mine, theirs = tmp_path / "run" / member, whole / member
        for name in ("sae.safetensors", "config.json", "config.yaml"):
            assert (mine / name).read_bytes() == (theirs / name).read_bytes()
        assert rows(mine) == rows(theirs)
        assert {p.name for p in mine.iterdir()} == {p.name for p in theirs.iterdir()}
