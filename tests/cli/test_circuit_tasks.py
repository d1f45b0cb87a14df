"""`saebench circuit tasks`: the list, a task made, and what cannot be made."""

from pathlib import Path

import pytest
from command_line import run_line

from saebench.circuits.tasks import read_task
from saebench.circuits.tasks.check import check_task
from saebench.circuits.tasks.registry import TASKS
from saebench.lm.tokenizer import load_tokenizer


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    def run(*arguments: object) -> tuple[int, str, str]:
        """(exit code, output, error lines) of `saebench circuit tasks …` in an empty workspace."""
        return run_line(monkeypatch, capsys, "circuit", "tasks", *arguments, "--workspace", str(tmp_path))

    return run


def test_a_task_is_made_of_what_the_model_knows_and_a_second_run_changes_nothing(run, tmp_path: Path):
    code, out, error = run("close-bracket", "--examples", 12)
    assert (code, error) == (0, "")
    path = tmp_path / "tasks" / "close-bracket.jsonl"
    task = read_task(path)
    assert f"{path}: {len(task.pairs)} of 12 examples" in out
    assert len(check_task(task, load_tokenizer("demo"), 256)) <= 12
    before = path.read_bytes()
    assert run("close-bracket", "--examples", 12)[0] == 0
    assert path.read_bytes() == before
    code, _, error = run("close-bracket", "--examples", 12, "--seed", 1)
    assert code == 1
    assert "--replace" in error
    assert path.read_bytes() == before
    assert run("close-bracket", "--examples", 12, "--seed", 1, "--replace")[0] == 0
    assert path.read_bytes() != before


def test_the_list_has_every_generator_and_every_task_of_the_workspace(run, tmp_path: Path):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "mine.jsonl").write_text('{"task": "mine"}\n{"clean": "x = a[b", "answer": "]"}\n')
    (tmp_path / "tasks" / "broken.jsonl").write_text('{"task": "broken"}\n{"clean": "x ="}\n')
    code, out, error = run("--examples", 2)
    assert (code, error) == (0, "")
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert {word.rstrip(":") for word in lines} >= set(TASKS)
    assert "%" in lines["close-bracket"]
    assert "too few" in lines["ioi:"]
    assert lines["tasks/mine.jsonl"].split()[1] == "1"
    assert "broken.jsonl, line 2: the key 'answer' is missing" in lines["tasks/broken.jsonl:"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nonsense",), "there is no generator of task 'nonsense'; there are: close-bracket,"),
        (("ioi",), "too few"),
        (("close-bracket", "--model", "./nowhere"), "'./nowhere' does not exist"),
    ],
)
def test_what_cannot_be_made_is_one_line_and_writes_nothing(run, tmp_path: Path, arguments: tuple, says: str):
    code, _, error = run(*arguments)
    assert code == 1
    assert says in error
    assert len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
