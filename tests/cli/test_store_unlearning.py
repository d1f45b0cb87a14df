"""`saebench store check` and `gc` on saved interventions and unlearning runs, finished and not."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import small_unlearning
import yaml
from command_line import run
from small_unlearning import POINT, SAE_ID

from saebench.files import file_sha256
from saebench.interventions import InterventionSet, Zero, write_interventions
from saebench.interventions.questions import Cloze, QuestionSet, write_questions
from saebench.interventions.sets import UsedSAE, set_path
from saebench.interventions.unlearning import write_result
from saebench.interventions.unlearning.result import result_path, work_folder
from saebench.lm.load import demo_folder, hash_folder
from saebench.saes import SAE, TopK
from store import Catalog

sys.path[:0] = [str(Path(__file__).parents[1] / place) for place in ("web", "store")]
import intervention_files  # noqa: E402 (it lives with the pages' tests)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A set, a run, and a run that is not finished."""
    workspace = small_unlearning.write(tmp_path)
    Catalog(workspace)
    sha256 = file_sha256(workspace / "saes" / SAE_ID / "sae.safetensors")
    own = InterventionSet(
        id="calm", model={"name": "demo", "sha256": hash_folder(demo_folder())},
        saes={"it": UsedSAE(id=SAE_ID, sha256=sha256, hook_point=POINT)}, interventions=(Zero(sae="it", feature=3),),
    )  # fmt: skip
    write_interventions(workspace, own)
    result = intervention_files.a_run("tkinter")
    write_result(workspace, result.model_copy(update={"sae": SAE_ID, "provenance": {"sae_sha256": sha256}}))
    work = work_folder(workspace, "half")
    write_questions(
        work / "questions.jsonl",
        QuestionSet(name="all", questions=(Cloze(id="1", prompt="import", answer=" os"),)),
    )
    (work / "clamp").mkdir()
    (work / "clamp" / "point.1.0.json").write_text("{}")
    return workspace


@pytest.fixture
def check(monkeypatch, capsys, workspace: Path):
    """(exit code, verdicts by kind, problems, which are one line each)."""

    def it() -> tuple[int, dict[str, list[str]], list[str]]:
        code, out, _ = run(monkeypatch, capsys, "check", "-w", workspace)
        verdicts: dict[str, list[str]] = {}
        for row in out.splitlines():
            if not row.startswith(" "):
                kind, verdict = row.split(maxsplit=1)
                verdicts.setdefault(kind, []).append(verdict)
        return code, verdicts, [row.strip() for row in out.splitlines() if row.startswith("  ")]

    return it


def test_what_is_sound_is_said_to_be(check):
    code, verdicts, problems = check()
    assert (code, problems) == (0, [])
    assert verdicts["interventions"] == ["sound  calm"]
    assert verdicts["unlearning"] == ["sound  tkinter", "sound  half, unfinished: the same command goes on"]


def test_an_sae_that_has_changed_or_is_gone(check, workspace: Path, monkeypatch, capsys):
    folder = workspace / "saes" / SAE_ID
    SAE.create(256, 32, TopK(8), 1).save(folder)
    code, verdicts, problems = check()
    assert code == 1
    assert verdicts["interventions"] == ["NOT sound  calm"]
    assert any("interventions 'calm' cannot be applied: SAE small has changed" in one for one in problems)
    assert any("or delete them with `saebench interventions delete calm`" in one for one in problems)
    assert any("unlearning run tkinter: SAE small has changed since" in one for one in problems)
    assert any("or delete the run with `saebench unlearn delete tkinter`" in one for one in problems)
    shutil.rmtree(folder)
    _, _, problems = check()
    assert any("'calm' cannot be applied: SAE small is gone" in one for one in problems)
    assert any("unlearning run tkinter: SAE small is gone; restore it" in one for one in problems)
    _, out, _ = run(monkeypatch, capsys, "gc", "-w", workspace, "--yes")  # people's work and results stay
    assert "removed 1" in out
    assert set_path(workspace, "calm").exists()
    assert result_path(workspace, "tkinter").exists()
    assert not work_folder(workspace, "half").exists()


@pytest.mark.parametrize("feature", [32, 400])
def test_a_feature_that_the_sae_lacks(check, workspace: Path, feature: int):
    path = set_path(workspace, "calm")
    path.write_text(path.read_text().replace('"feature": 3', f'"feature": {feature}'))
    assert any(f"SAE it has no feature {feature}; it has 0 to 31" in one for one in check()[2])


def test_an_sae_that_now_reads_elsewhere(check, workspace: Path):
    config = workspace / "saes" / SAE_ID / "config.yaml"
    made = yaml.safe_load(config.read_text())
    made["provenance"]["hook_point"] = "blocks.1.hook_resid_post"
    config.write_text(yaml.safe_dump(made))
    assert any(f"want SAE small at {POINT}; it reads blocks.1.hook_resid_post" in one for one in check()[2])


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("interventions/calm.json", "calm.json is no set of interventions"),
        ("unlearning/tkinter.json", "tkinter.json is no unlearning run"),
        (
            "unlearning/.work/half/questions.jsonl",
            "questions.jsonl is damaged; delete it and run the same",
        ),
        ("unlearning/.work/half/clamp/point.1.0.json", "point.1.0.json is damaged; delete it and run the same command"),
    ],
)
def test_damaged_files_are_named(check, workspace: Path, place: str, says: str):
    (workspace / place).write_text('{"version": ')
    code, _, problems = check()
    assert code == 1
    assert len(problems) == 1
    assert says in problems[0]


def test_gc_says_what_would_be_lost(workspace: Path, monkeypatch, capsys):
    _, out, _ = run(monkeypatch, capsys, "gc", "-w", workspace)
    (row,) = [row for row in out.splitlines() if "half" in row]
    assert "unlearning/.work/half  (unfinished; the command that began it would go on from here)" in row
    assert json.loads((work_folder(workspace, "half") / "clamp" / "point.1.0.json").read_text()) == {}
