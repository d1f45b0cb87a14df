"""`saebench unlearn run` and `list`: what cannot work, in one line, and as far as possible before a model is opened."""

import re
import shutil
from pathlib import Path

import pytest
import small_unlearning
from command_line import run_line

from saebench.interventions import InterventionSet, Zero, write_interventions
from saebench.interventions.sets import UsedSAE
from saebench.interventions.unlearning.result import work_folder
from store import Annotations


@pytest.fixture
def unlearn(monkeypatch, capsys, tmp_path):
    return lambda *words: run_line(monkeypatch, capsys, "unlearn", *words, "-w", tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "has no finished SAE; run `saebench train`"),
        (("--sae", "mine"), "has no finished SAE 'mine'; it has: none"),
        (("--forget", "tkinter="), "topic 'tkinter=' is not NAME or NAME=PATTERN,PATTERN"),
        (("--forget", "xml", "--retain", "xml"), "topic 'xml' is both to be forgotten and kept"),
        (("--choose", "guess"), "unlearn.choose.method"),
        (("--choose", "list"), "method list wants the name of a list"),
        (("--choose", "squares:mine"), "method list wants the name of a list"),
        (("--set", "unlearn.treatments=[{kind: clamp, strengths: []}]"), "unlearn.treatments.0.strengths"),
        (("--set", "unlearn.rmu.c=0"), "unlearn.rmu.c"),
    ],
)
def test_runs_that_cannot_work(unlearn, tmp_path, words: tuple[str, ...], message: str):
    code, _, error = unlearn("run", *words)
    assert code == 1
    assert message in error
    assert "\n" not in error
    assert not list(tmp_path.iterdir())


def test_an_empty_workspace_says_how_to_begin(unlearn):
    code, out, _ = unlearn("list")
    assert code == 0
    assert "begin with: saebench unlearn run" in out


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that lacks nothing but the model, with lists of features."""
    workspace = small_unlearning.write(tmp_path_factory.mktemp("unlearn"))
    config = workspace / "saes" / small_unlearning.SAE_ID / "config.yaml"
    config.write_text(config.read_text().replace("name: demo", "name: /no/model"))
    lists = Annotations(workspace)
    lists.add_to_list("beyond", small_unlearning.SAE_ID, 32, "it has 32")
    lists.add_to_list("others", "other.sae", 3, "of another SAE")
    return workspace


@pytest.fixture
def run(monkeypatch, capsys, small: Path, tmp_path: Path):
    """(exit code, error) of a run in a copy of that workspace, which comes first in the arguments."""
    workspace = Path(shutil.copytree(small, tmp_path / "workspace"))
    (tmp_path / "corpus").symlink_to(small.parent / "corpus")

    def it(*words: str, **changes: object) -> tuple[int, str]:
        code, _, error = run_line(monkeypatch, capsys, *small_unlearning.line(workspace, *words, **changes))
        return code, error

    it.workspace = workspace  # type: ignore[attr-defined]
    return it


def test_only_the_model_is_missing(run):
    code, error = run()
    assert (code, error) == (1, "error: model folder '/no/model' does not exist")


@pytest.mark.parametrize(
    ("words", "changes", "message"),
    [
        (("--sae", "smal"), {}, "has no finished SAE 'smal'; it has: small"),
        (("--id", "a/b"), {}, "'a/b' cannot be an id"),
        ((), {"forget": "my topic=json/*"}, "'my topic.frequency' cannot be an id"),
        ((), {"forget": "yaml=yaml/*"}, "topic 'yaml': no document of .*corpus' is called yaml/\\*"),
        ((), {"forget": "both=*.py"}, "is of topics 'both' and 'html'; let their patterns not overlap"),
        ((), {"forget": "one=shlex.py"}, "topic 'one' has one document, shlex.py: nothing is left to judge by"),
        ((), {"retain": "all=html/*,shlex.py"}, "every document of .* is of a topic: no neutral text is left"),
        (("--choose", "list:gone"), {}, "no features are on a list 'gone'; lists: beyond, others"),
        (("--choose", "list:others"), {}, "list 'others' has no feature of small"),
        (("--choose", "list:beyond"), {}, "there is no feature 32; the SAE has 0 to 31"),
        ((), {"corpus.name": "./nowhere"}, "nowhere.* does not exist"),
        ((), {"sets": "{mine: [{kind: zero, sae: smal, feature: 1}]}"}, "no finished SAE 'smal'; it has: small"),
        (
            (),
            {"sets": "{mine: [{kind: zero, sae: small, feature: 99}]}"},
            "SAE small has no feature 99; it has 0 to 31",
        ),
        ((), {"sets": "{mine: []}"}, "set 'mine' has no intervention"),
        ((), {"treatments": "[]"}, "no treatment is given and no set of interventions; give one at least"),
        ((), {"treatments": "[{kind: melt}]"}, "unlearn.treatments.0.kind: Input should be 'clamp'"),
        ((), {"treatments": "[{kind: clamp, strengths: [1e38]}]"}, "strengths are numbers from 0 to a million"),
    ],
)
def test_misspelt_names_are_refused_without_the_model(run, words, changes, message: str):
    before = sorted(run.workspace.rglob("*"))
    code, error = run(*words, **changes)
    assert code == 1
    assert re.search(message, error)
    assert len(error.splitlines()) == 1
    assert sorted(run.workspace.rglob("*")) == before


def test_what_has_the_name_already_is_not_replaced_unasked(run):
    workspace = run.workspace
    used = {"small": UsedSAE(id="small", sha256="0", hook_point=small_unlearning.POINT)}
    own = InterventionSet(id="mine", model={}, saes=used, interventions=(Zero(sae="small", feature=1),))
    write_interventions(workspace, own)
    code, error = run("--id", "mine")
    assert (code, len(error.splitlines())) == (1, 1)
    assert "has interventions 'mine' already, which no run saved; choose another --id, or add --replace" in error
    assert "'/no/model'" in run("--id", "mine", "--replace")[1]
    work_folder(workspace, "mine").mkdir(parents=True)  # a run that was killed after it had saved them
    assert "'/no/model'" in run("--id", "mine")[1]


def test_an_sae_of_another_model_is_refused(run):
    config = run.workspace / "saes" / small_unlearning.SAE_ID / "config.yaml"
    made = config.read_text()
    config.write_text(re.sub(r"sha256: \w+", "sha256: ab", made).replace("/no/model", "demo"))
    code, error = run()
    assert (code, len(error.splitlines())) == (1, 1)
    assert "model 'demo' is not the one that SAE small was trained on" in error
    config.write_text(re.sub(r"sha256: \w+", "", made))
    assert "does not say what the SAE was trained on; train it again" in run()[1]
    assert not (run.workspace / "unlearning").exists()
