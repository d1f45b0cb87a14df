"""`saebench circuit heads`: a table for a task of the workspace, and what cannot be ranked."""

import re
import shutil
from pathlib import Path

import pytest
from command_line import run_line

from saebench.circuits.tasks import Pair, Task, write_task
from saebench.circuits.tasks.files import task_path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny_folder: Path):
    def run(*arguments: object) -> tuple[int, str, str]:
        """(exit code, output, error lines) of `saebench circuit heads …` with the tiny model."""
        words = ("circuit", "heads", *arguments, "--workspace", tmp_path, "--model", tiny_folder)
        return run_line(monkeypatch, capsys, *words)

    return run


def test_every_head_has_its_row(run, tmp_path):
    pairs = (
        Pair(clean="Q?Z", patch="Z?Z", answer="?", wrong="Q"),
        Pair(clean="Z?Q?Z", patch="Q?Q?Z", answer="?", wrong="Q"),
        Pair(clean="Z?Q", patch="Q?Q", answer="?", wrong="Z"),
    )
    write_task(task_path(tmp_path, "mine"), Task(name="mine", pairs=pairs))
    code, out, error = run("mine", "--latents", 20)
    assert (code, error) == (0, "")
    heads = [re.match(r"(\d\.\d) +\d+ +[\d.]+ +[+-][\d.]+ +[+-][\d.]+%", line) for line in out.splitlines()]
    assert sorted(found[1] for found in heads if found) == [
        f"{layer}.{head}" for layer in range(3) for head in range(4)
    ]
    assert "3 examples of mine: metric" in out
    assert "ROC-AUC" in out


def test_what_cannot_be_ranked_is_one_line(run, tmp_path):
    code, _, error = run("nothing")
    assert (code, error.count("\n")) == (1, 0)
    assert "there is no task 'nothing'" in error
    write_task(task_path(tmp_path, "lonely"), Task(name="lonely", pairs=(Pair(clean="Q?Z", answer="?"),)))
    code, _, error = run("lonely")
    assert code == 1
    assert "give every example a patch" in error


def test_what_is_refused_without_opening_the_model(monkeypatch, capsys, tmp_path: Path, tiny_folder: Path):
    model = tmp_path / "gutted"
    shutil.copytree(tiny_folder, model, ignore=shutil.ignore_patterns("*.safetensors"))
    write_task(task_path(tmp_path, "lonely"), Task(name="lonely", pairs=(Pair(clean="Q?Z", answer="?"),)))
    write_task(task_path(tmp_path, "uneven"), Task(name="uneven", pairs=(Pair(clean="Q?Z", patch="Q", answer="?"),)))
    refused = {
        "nothing": "there is no task 'nothing'",
        "none.jsonl": "cannot read task none.jsonl",
        "lonely": "give every example a patch",
        "uneven": "example 1: clean and patch must be equally long",
        "close-bracket": "cannot open model",
    }
    for task, message in refused.items():
        words = ("circuit", "heads", task, "--workspace", tmp_path, "--model", model)
        code, _, error = run_line(monkeypatch, capsys, *words)
        assert (code, len(error.splitlines())) == (1, 1)
        assert message in error
