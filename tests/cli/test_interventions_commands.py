"""`saebench interventions …` and `saebench unlearn delete`: what is kept is listed, shown and taken away."""

import json
import sys
from pathlib import Path

import pytest
from command_line import run_line

from saebench.files import file_sha256
from saebench.interventions import Add, ClampActive, Fires, InterventionSet, Often, Tokens, Zero, write_interventions
from saebench.interventions.sets import UsedSAE, set_ids, set_path
from saebench.interventions.unlearning import result_ids, write_result
from saebench.interventions.unlearning.result import result_path, work_folder

sys.path[:0] = [str(Path(__file__).parents[1] / place) for place in ("web", "store")]
import intervention_files  # noqa: E402 (it lives with the pages' tests)

SAE, POINT = "demo.sae", "blocks.1.hook_resid_post"
VALUES = (
    Add(sae="it", feature=3, activation=1.5, tokens=Tokens(start=2, stop=6)),
    ClampActive(sae="it", feature=4, activation=-8, above=0.5, when=Often(feature=(4, 5), share=0.05)),
    Zero(sae="it", feature=(6, 7), when=Fires(sae="it", above=2), tokens=Tokens(special=True)),
)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A set, a run with its set, and the weights that they are about."""
    weights = tmp_path / "saes" / SAE / "sae.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"weights")
    used = {"it": UsedSAE(id=SAE, sha256=file_sha256(weights), hook_point=POINT)}
    calm = InterventionSet(id="calm", model={"name": "demo"}, saes=used, interventions=VALUES, notes="[bold]a note")
    for set_id in ("calm", "tkinter.frequency"):
        write_interventions(tmp_path, calm.model_copy(update={"id": set_id}))
    write_result(tmp_path, intervention_files.a_run())
    return tmp_path


@pytest.fixture
def line(monkeypatch, capsys, workspace):
    return lambda *words: run_line(monkeypatch, capsys, *words, "-w", workspace)


def test_sets_are_listed_also_beside_a_damaged_one(line, workspace: Path):
    set_path(workspace, "torn").write_text('{"version": 1')
    code, out, error = line("interventions", "list")
    assert (code, error) == (0, "")
    rows = {words[0]: words for row in out.splitlines() if (words := row.split())}
    assert rows["calm"][1:] == ["add,", "guarded", "clamp,", "zero", "4", SAE, "[bold]a", "note"]
    assert rows["tkinter.frequency"][5] == "4"
    assert f"{set_path(workspace, 'torn')} is no set of interventions" in out


def test_a_set_is_shown_in_order(line, workspace: Path):
    code, out, error = line("interventions", "show", "calm")
    assert (code, error) == (0, "")
    rows = [" ".join(row.split()) for row in out.splitlines()]
    assert rows == [
        f"SAE {SAE} at {POINT}, here it", "model demo", "notes [bold]a note", "kind features to where",
        "add 3 activation 1.5 tokens 2 to 5", "guarded clamp 4 activation -8, above 0.5 often of 4, 5, share 0.05",
        "zero 6, 7 special tokens too; fires (it), above 2",
    ]  # fmt: skip
    told = json.loads(line("interventions", "show", "calm", "--json")[1])
    assert told == json.loads(set_path(workspace, "calm").read_text())
    (workspace / "saes" / SAE / "sae.safetensors").write_bytes(b"others")
    assert (
        "cannot be applied: SAE demo.sae has changed since they were saved" in line("interventions", "show", "calm")[1]
    )


def test_sets_and_runs_are_deleted(line, workspace: Path):
    assert line("interventions", "delete", "calm") == (0, "deleted   calm\n", "")
    assert set_ids(workspace) == ["tkinter.frequency"]
    code, _, error = line("interventions", "delete", "tkinter.frequency")
    assert (code, set_ids(workspace)) == (1, ["tkinter.frequency"])
    assert "are what the unlearning run of that name found; delete the run first: saebench unlearn delete" in error
    assert len(error.splitlines()) == 1
    code, out, _ = line("unlearn", "delete", "tkinter.frequency")
    assert (code, result_ids(workspace)) == (0, [])
    assert "its interventions stay: `saebench interventions delete tkinter.frequency`" in out
    assert line("interventions", "delete", "tkinter.frequency")[0] == 0
    assert "no interventions are saved" in line("interventions", "list")[1]


def test_a_run_is_listed_in_the_words_of_its_page(line):
    code, out, _ = line("unlearn", "list")
    assert code == 0
    [row] = [" ".join(row.split()) for row in out.splitlines() if "tkinter.frequency" in row]
    assert row == "tkinter.frequency tkinter clamp where active, strength 2 35.0% 100.0%"


def test_what_is_damaged_is_deleted_all_the_same(line, workspace: Path):
    for path in (set_path(workspace, "calm"), result_path(workspace, "tkinter.frequency")):
        path.write_text("{")
    code, out, _ = line("unlearn", "list")
    assert code == 0
    assert "tkinter.frequency.json is no unlearning run" in out
    assert line("interventions", "delete", "calm")[0] == 0
    assert line("unlearn", "delete", "tkinter.frequency")[0] == 0
    assert (set_ids(workspace), result_ids(workspace)) == (["tkinter.frequency"], [])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("interventions", "show", "gone"), "has no set of interventions 'gone'; it has: calm, tkinter.frequency"),
        (("interventions", "delete", "gone"), "has no set of interventions 'gone'; it has: calm, tkinter.frequency"),
        (("interventions", "delete", "../saes/x"), "'../saes/x' cannot be an id"),
        (("unlearn", "delete", "gone"), "has no unlearning run 'gone'; it has: tkinter.frequency"),
        (("unlearn", "delete", "a/b"), "'a/b' cannot be an id"),
        (("unlearn", "delete", "half"), "unlearning run 'half' is not finished; run it again to go on"),
    ],
)
def test_what_is_not_there_is_one_line(line, workspace: Path, words: tuple[str, ...], message: str):
    work_folder(workspace, "half").mkdir(parents=True)
    before = sorted(workspace.rglob("*"))
    code, out, error = line(*words)
    assert (code, out, len(error.splitlines())) == (1, "", 1)
    assert message in error
    assert sorted(workspace.rglob("*")) == before
