"""`saebench steer`, saved sets of interventions and the documentation's Python, on a workspace made by the commands."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from command_line import run_line
from killing import finish
from sample_text import SAMPLE

from saebench.corpus.tokenization import vocabulary
from saebench.errors import UserError
from saebench.interventions import (
    Add,
    ClampActive,
    Fires,
    Zero,
    generate,
    intervened,
    make_set,
    open_interventions,
    open_saes,
    read_interventions,
    write_interventions,
)
from store import FeatureStore

DOC = Path(__file__).parents[2] / "docs" / "interventions.md"


@pytest.fixture(scope="module")
def made(tiny_folder, tmp_path_factory) -> Path:
    """A workspace with one indexed SAE."""
    folder = tmp_path_factory.mktemp("steer")
    (folder / "texts").mkdir()
    for number in range(6):
        (folder / "texts" / f"{number}.txt").write_text(f"file {number}\n{SAMPLE * 8}", encoding="utf-8")
    settings = {
        "model.name": tiny_folder, "corpus.name": folder / "texts", "corpus.max_tokens": 1500,
        "harvest.hook_points": "[blocks.1.hook_resid_post]", "harvest.batch_contexts": 8, "train.tokens": 2500,
        "train.batch": 128, "train.ring_rows": 512, "train.sae.n_latents": 96, "train.sae.rule.k": 6,
        "evaluate.corpus.name": folder / "texts", "evaluate.corpus.max_tokens": 500,
        "index.corpus.name": folder / "texts", "index.corpus.max_tokens": 1500,
    }  # fmt: skip
    overrides = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    finish(["demo", "--no-serve", "--workspace", str(folder / "workspace"), *overrides])
    return folder / "workspace"


@pytest.fixture
def workspace(made, tmp_path) -> Path:
    shutil.copytree(made, tmp_path / "workspace")
    return tmp_path / "workspace"


@pytest.fixture
def steer(monkeypatch, capsys, workspace):
    return lambda *words: run_line(monkeypatch, capsys, "steer", "def größe(", "-w", workspace, "--tokens", 5, *words)


def strongest(workspace: Path) -> tuple[str, int, float]:
    with FeatureStore.open(workspace) as store:
        [sae] = store.saes()
        row = store.features().order("max_activation DESC").limit(1).rows()[0]
    return sae["id"], row["feature"], row["max_activation"]


def test_both_continuations_and_what_may_come_next(workspace, steer):
    sae, feature, largest = strongest(workspace)
    options = ("--tokens", 6, "--json", "--feature", feature, "--max")
    code, out, error = steer("--add", 3, *options)
    assert (code, error) == (0, "")
    told = json.loads(out)
    lm, saes = open_saes(workspace)
    assert told["interventions"] == [
        {"kind": "add", "sae": sae, "feature": feature, "activation": pytest.approx(3 * largest)}
    ]
    plain = generate(lm, "def größe(", 6)
    with intervened(lm, [Add(sae=sae, feature=feature, activation=3 * largest)], saes):
        steered = generate(lm, "def größe(", 6)
    assert told["before"] == lm.tokenizer.decode(plain.tokens)
    assert told["after"] == lm.tokenizer.decode(steered.tokens) != told["before"]
    p, q = (torch.softmax(found.logits.double(), 0) for found in (plain, steered))
    assert told["divergence"] == pytest.approx(float((p * (p / q).log()).sum()), rel=1e-4)
    pieces = vocabulary(lm.tokenizer)
    for row, token in zip(told["next"], p.maximum(q).argsort(descending=True).tolist(), strict=False):
        assert row["token"] == pieces[token].decode(errors="replace")
        assert (row["before"], row["after"]) == pytest.approx((float(p[token]), float(q[token])), rel=1e-4)


def test_a_table_for_people(workspace, steer):
    _, feature, _ = strongest(workspace)
    code, out, error = steer("--clamp-active", -9, "--above", 0.1, "--often", 0, "--feature", feature, "--tokens", 3)
    assert (code, error) == (0, "")
    assert "next token" in out
    assert "KL(without ‖ with)" in out


def test_saved_interventions_are_used_again(workspace, steer):
    _, feature, _ = strongest(workspace)
    first = steer("--project", 0, "--feature", feature, "--tokens", 6, "--json", "--save", "calm")
    again = steer("--interventions", "calm", "--tokens", 6, "--json")
    file = steer("--interventions", workspace / "interventions" / "calm.json", "--tokens", 6, "--json", "--save", "two")
    assert first == again == file
    assert first[0] == 0
    one, two = (read_interventions(workspace, name) for name in ("calm", "two"))
    assert two == one.model_copy(update={"id": "two"})
    code, _, error = steer("--zero", "--feature", feature, "--save", "calm")
    assert (code, "a set 'calm' is there already" in error) == (1, True)
    assert read_interventions(workspace, "calm") == one
    assert steer("--zero", "--feature", feature, "--save", "calm", "--replace")[0] == 0
    assert read_interventions(workspace, "calm").interventions == (Zero(sae=one.interventions[0].sae, feature=feature),)


def test_interventions_that_never_act_are_said_to(steer):
    code, out, _ = steer("--scale", 1, "--feature", 1)
    assert code == 0
    assert "nothing changed" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "say one thing to do, none is given"),
        (("--add", 1, "--zero", "--feature", 1), "--add and --zero are given"),
        (("--add", 1), "name the features with --feature"),
        (("--add", 1, "--feature", 96), "has no feature 96; it has 0 to 95"),
        (("--add", 1, "--feature", 9600, "--max"), "has no feature 9600"),
        (("--add", 1, "--feature", 1, "--sae", "other"), "no finished SAE 'other'"),
        (("--add", "nan", "--feature", 1), "finite"),
        (("--add", "1e38", "--feature", 1), "overflow under this change of them; use smaller strengths"),
        (("--clamp", "-1e300", "--feature", 1), "overflow under this change of them; use smaller strengths"),
        (("--add", "3e38", *(word for i in range(96) for word in ("--feature", i))), "overflow"),
        (("--add", 1, "--feature", 1, "--tokens", 40), "do not fit the model's context of 32"),
        (("--zero", "--feature", 1, "--max"), "--max goes with activations"),
        (("--zero", "--feature", 1, "--above", 1), "--above goes with --clamp-active"),
        (("--add", 1, "--feature", 1, "--save", "a/b"), "cannot be an id"),
        (("--interventions", "gone"), "no set of interventions 'gone'; it has: none"),
        (("--interventions", "gone.json"), "cannot read gone.json"),
        (("--interventions", "gone", "--zero"), "--interventions brings its own"),
        (("--interventions", "gone", "--often", 0), "--interventions brings its own"),
        (("--add", 1, "--feature", 1, "--corpus", "texts"), "--corpus goes with --max"),
    ],
)
def test_what_cannot_be_done_is_one_line(workspace, steer, words, says: str):
    code, out, error = steer(*words)
    assert code == 1
    assert says in error
    assert error.count("\n") == 0
    assert out == ""
    assert not (workspace / "interventions").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("def", "--add", 1, "--feature", 1, "--tokens", 5), "cannot open model"),
        (("def", "--add", 1, "--feature", 96), "has no feature 96; it has 0 to 95"),
        (("def", "--add", 1, "--feature", 1, "--sae", "other"), "no finished SAE 'other'"),
        (("def", "--add", 1, "--feature", 1, "--max", "--corpus", "other"), "has no index of .* on corpus 'other'"),
        (("def", "--add", 1, "--feature", 1, "--tokens", 40), r"\d tokens of prompt and 40 more do not fit .* of 32"),
        (("def " * 40, "--add", 1, "--feature", 1), r"\d+ tokens of prompt and 40 more do not fit .* context of 32"),
        (("def", "--interventions", "calm"), "has no feature 400; it has 0 to 95"),
        (("def", "--interventions", "clam"), "no set of interventions 'clam'; it has: calm"),
    ],
)
def test_what_is_misspelt_is_refused_without_the_model(
    workspace, tiny_without_weights, monkeypatch, capsys, words, says: str
):
    path = kept(workspace)
    path.write_text(path.read_text().replace('"feature": 4', '"feature": 400'))
    [config] = workspace.glob("saes/*/config.yaml")
    made = yaml.safe_load(config.read_text())
    made["provenance"]["model"]["name"] = str(tiny_without_weights)
    config.write_text(yaml.safe_dump(made))
    code, _, error = run_line(monkeypatch, capsys, "steer", *words, "-w", workspace)
    assert (code, len(error.splitlines())) == (1, 1)
    assert re.search(says, error)


def test_an_sae_of_another_model_is_refused(workspace, steer):
    [config] = workspace.glob("saes/*/config.yaml")
    config.write_text(re.sub(r"sha256: \w+", "sha256: ab", config.read_text()))
    code, out, error = steer("--add", 1, "--feature", 1)
    assert (code, out, len(error.splitlines())) == (1, "", 1)
    assert "is not the one that SAE tiny.blocks.1.hook_resid_post.topk-96-k6 was trained on" in error


def kept(workspace: Path) -> Path:
    lm, [sae] = open_saes(workspace)
    some = [Zero(sae="it", feature=4), ClampActive(sae="it", feature=5, activation=-3, when=Fires(feature=(6, 7)))]
    return write_interventions(workspace, make_set(workspace, "calm", lm, some, {"it": sae}, "a note"))


def refusal(workspace: Path) -> str:
    with pytest.raises(UserError) as refused:
        open_interventions(workspace, "calm")
    return str(refused.value)


def test_a_set_comes_back_as_it_was(workspace):
    path = kept(workspace)
    opened = open_interventions(workspace, "calm")
    assert [one.kind for one in opened.interventions] == ["zero", "clamp_active"]
    assert json.loads(path.read_text())["notes"] == "a note"
    with intervened(*opened):
        generate(opened.lm, "def", 2)
    assert [file.name for file in path.parent.iterdir()] == ["calm.json"]


def test_changed_and_missing_saes_are_refused_and_checked(monkeypatch, capsys, workspace):
    kept(workspace)
    [weights] = workspace.glob("saes/*/sae.safetensors")
    assert "sound" in run_line(monkeypatch, capsys, "store", "check", "-w", workspace)[1]
    torch.save({}, weights)
    assert "has changed since they were saved" in refusal(workspace)
    shutil.rmtree(weights.parent)
    assert "is gone" in refusal(workspace)
    code, out, _ = run_line(monkeypatch, capsys, "store", "check", "-w", workspace)
    assert code == 1
    assert "interventions 'calm' cannot be applied: SAE" in out
    assert "or delete them with `saebench interventions delete calm`" in out


def test_a_set_for_another_model_or_hook_point_is_refused(workspace):
    path = kept(workspace)
    text = path.read_text()
    path.write_text(text.replace('"hook_point": "blocks.1', '"hook_point": "blocks.0'))
    assert "want SAE" in refusal(workspace)
    path.write_text(re.sub(r'("model": \{.*?"sha256": ")\w+', r"\g<1>00", text, flags=re.DOTALL))
    assert "for another model" in refusal(workspace)
    path.write_text(text.replace('"feature": 4', '"feature": 400'))
    assert "no feature 400" in refusal(workspace)
    path.write_text(text.replace('"sae": "it"', '"sae": "other"', 1))
    assert "'other' that is not among its saes" in refusal(workspace)
    path.write_text(text[:80])
    assert "is no set of interventions" in refusal(workspace)


def test_the_python_of_the_documentation_runs(workspace, monkeypatch, capsys):
    monkeypatch.chdir(workspace.parent)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", DOC.read_text(), re.DOTALL):
        exec(block, names)
    assert capsys.readouterr().out
    shown = json.loads(re.findall(r"```json\n(.*?)```", DOC.read_text(), re.DOTALL)[0])
    written = json.loads((workspace / "interventions" / "guarded.json").read_text())
    assert shown.keys() == written.keys()
    for one in (shown, written):
        one["interventions"][0].pop("sae")
    assert shown["interventions"] == written["interventions"]
