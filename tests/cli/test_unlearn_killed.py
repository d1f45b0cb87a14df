"""An unlearning run killed on its way, in a real process: nothing is half-written, nothing finished is done twice."""

import json
import shutil
import signal
import time
from pathlib import Path

import pytest
import small_unlearning
import torch
from command_line import run_line
from killing import begin, finish

from saebench.interventions import read_interventions
from saebench.interventions.sets import set_ids
from saebench.interventions.unlearning import read_result, result_ids
from saebench.interventions.unlearning.result import work_folder
from saebench.job import PROGRESS

RUN = "json.frequency"
MARK = 12_345


@pytest.fixture
def one_thread():
    """As the processes have, so that sums are the same to the last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def kill_when(path: Path, arguments: list[str]) -> None:
    """Start a command and kill it as soon as a file is there."""
    process = begin(arguments)
    while not path.exists():
        assert process.is_alive()
        time.sleep(0.01)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def mark(path: Path, *places: str) -> None:
    """Change a number in a piece of work, so that one can tell whether it is made again."""
    data = found = json.loads(path.read_text())
    *inner, last = places
    for place in inner:
        found = found[int(place)] if isinstance(found, list) else found[place]
    found[last] = MARK
    path.write_text(json.dumps(data))


def test_killed_it_goes_on_and_comes_to_the_same(
    tmp_path: Path, one_thread: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    workspace = small_unlearning.write(tmp_path / "here")
    before = Path(shutil.copytree(workspace, tmp_path / "before"))
    arguments = small_unlearning.line(workspace)
    code, _, error = run_line(monkeypatch, capsys, *arguments)
    assert (code, error) == (0, "")
    whole, saved = read_result(workspace, RUN), read_interventions(workspace, RUN)

    shutil.rmtree(workspace)
    before.rename(workspace)
    work = work_folder(workspace, RUN)
    kill_when(work / "zero" / "made_from.json", arguments)  # clamped and scored, about to be zeroed
    assert (result_ids(workspace), set_ids(workspace)) == ([], [])
    assert not list((work / "zero").glob("point*"))
    for path in work.rglob("*.json"):
        json.loads(path.read_text())
    mark(work / "clamp" / "point.2.0.json", "scores", "kl", "n")
    mark(work / "candidates.json", "rows", "0", "scores", "forget density")

    monkeypatch.setenv(PROGRESS, str(tmp_path / "progress.jsonl"))
    finish(arguments)
    assert not work.exists()
    told = [json.loads(row) for row in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert "questions" not in {row["what"] for row in told}
    assert [row["done"] for row in told if row["what"] == "zero"] == [0, 1]
    again = read_result(workspace, RUN).model_dump(mode="json")
    clamp, zero = again["curves"]
    assert clamp["points"][0]["scores"]["kl"].pop("n") == MARK  # not measured again
    assert again["candidates"][0]["scores"].pop("forget density") == MARK
    expected = whole.model_dump(mode="json")
    expected["curves"][0]["points"][0]["scores"]["kl"].pop("n")
    expected["candidates"][0]["scores"].pop("forget density")
    if again["picked"]["treatment"] == "clamp":  # its scores are those of its point
        assert again["picked"]["scores"]["kl"].pop("n") == MARK
        expected["picked"]["scores"]["kl"].pop("n")
    assert again == expected
    assert zero["points"][0]["strength"] == 1
    assert read_interventions(workspace, RUN) == saved
