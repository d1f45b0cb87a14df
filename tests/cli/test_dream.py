"""`saebench dream` as a user meets it: printed, kept, found again, stopped, and what is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from command_line import run_line

from saebench.files import file_sha256
from saebench.lm import LanguageModel
from saebench.saes import SAE, TopK
from store import find_dream
from store.dreams import dream_path

SAE_ID, POINT = "tiny.sae", "blocks.1.hook_resid_post"
SMALL = ["--tokens", "5", "--iterations", "6", "--set", "dream.children=8", "--set", "dream.population=3"]


@pytest.fixture(scope="module")
def made(tiny_lm: LanguageModel, tmp_path_factory: pytest.TempPathFactory, texts_of_session: Path) -> Path:
    """A workspace with an untrained SAE of the tiny model, indexed on a few texts; feature 0 can never fire."""
    workspace = tmp_path_factory.mktemp("dreams") / "ws"
    sae = SAE.create(tiny_lm.d_model, 48, TopK(k=16), 0)
    with torch.no_grad():
        sae.b_enc[0] = -1e4
    sae.save(workspace / "saes" / SAE_ID)
    config = {"provenance": {"model": tiny_lm.provenance, "hook_point": POINT}}
    (workspace / "saes" / SAE_ID / "config.yaml").write_text(yaml.safe_dump(config))
    return workspace


@pytest.fixture(scope="session")
def texts_of_session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    for number in range(4):
        (folder / f"{number}.txt").write_text(f"file {number}\n" + "def f(self):\n    return self.x\n" * 6)
    return folder


@pytest.fixture
def workspace(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "ws"))


def test_dreamt_beside_the_corpus_kept_and_found(workspace: Path, texts_of_session: Path, monkeypatch, capsys):
    index = ["index", "-w", workspace, "--set", f"index.corpus.name={texts_of_session}"]
    assert run_line(monkeypatch, capsys, *index)[0] == 0
    line = ["dream", "--sae", SAE_ID, "--feature", 5, "-w", workspace, *SMALL]
    code, out, error = run_line(monkeypatch, capsys, *line)
    assert (code, error) == (0, "")
    found = find_dream(workspace, SAE_ID, 5)
    assert found is not None
    assert f"{found.best.activation:.2f}" in out
    assert f"{found.best.cross_entropy:.2f}" in out
    assert "in its context" in out
    assert len(found.examples) > 1
    for example in found.examples:
        assert len(example.tokens) <= 5
        assert example.value > 0
    sha256 = file_sha256(workspace / "saes" / SAE_ID / "sae.safetensors")
    assert found.provenance["sha256"] == sha256
    assert found.provenance["settings"] | {"iterations": 6, "tokens": 5} == found.provenance["settings"]
    written = dream_path(workspace, SAE_ID, 5).stat().st_mtime_ns
    code, out, _ = run_line(monkeypatch, capsys, *line, "--json")
    assert json.loads(out)["frontier"][-1]["activation"] == found.best.activation
    assert dream_path(workspace, SAE_ID, 5).stat().st_mtime_ns == written  # nothing is done twice
    assert run_line(monkeypatch, capsys, *line, "--seed", 1)[0] == 0
    assert dream_path(workspace, SAE_ID, 5).stat().st_mtime_ns != written


def test_json_is_all_that_is_printed(workspace: Path, monkeypatch, capsys):
    line = ["dream", "--sae", SAE_ID, "--feature", 7, "-w", workspace, *SMALL, "--json"]
    code, out, _ = run_line(monkeypatch, capsys, *line)
    data = json.loads(out)
    assert (code, data["feature"], data["corpus"], data["examples"]) == (0, 7, None, [])


def test_an_sae_of_another_model_is_refused(workspace: Path, monkeypatch, capsys):
    config = workspace / "saes" / SAE_ID / "config.yaml"
    made = yaml.safe_load(config.read_text())
    made["provenance"]["model"]["sha256"] = "ab"
    config.write_text(yaml.safe_dump(made))
    code, _, error = run_line(monkeypatch, capsys, "dream", "--feature", 5, "-w", workspace, *SMALL)
    assert (code, len(error.splitlines())) == (1, 1)
    assert f"is not the one that SAE {SAE_ID} was trained on" in error
    assert not (workspace / "dreams").exists()


def test_stopped_it_leaves_nothing(workspace: Path, monkeypatch, capsys):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("saebench.cli.progress.Track.__call__", stop)
    line = ["dream", "--sae", SAE_ID, "--feature", 5, "-w", workspace, *SMALL]
    assert run_line(monkeypatch, capsys, *line)[0] == 130
    assert not (workspace / "dreams").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--feature", "5"], "cannot open model"),
        (["--feature", "48"], "has no feature 48; it has 0 to 47"),
        (["--feature", "0"], "fires on none of the 162 prompts tried: it may be dead"),
        (["--feature", "5", "--sae", "nope"], "has no finished SAE 'nope'"),
        (["--feature", "5", "--tokens", "32"], "do not fit the model's context of 32"),
        (["--feature", "5", "--tokens", "1"], "dream.tokens: Input should be greater than or equal to 2"),
        (["--feature", "5", "--corpus", "nope"], "has no finished index"),
    ],
)
def test_what_is_refused(workspace: Path, tiny_without_weights: Path, monkeypatch, capsys, words, message: str):
    if "it may be dead" not in message:  # all else is said before the model is opened
        config = workspace / "saes" / SAE_ID / "config.yaml"
        made = yaml.safe_load(config.read_text())
        made["provenance"]["model"]["name"] = str(tiny_without_weights)
        config.write_text(yaml.safe_dump(made))
    code, _, error = run_line(monkeypatch, capsys, "dream", "-w", workspace, *SMALL, *words)
    assert code == 1
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (workspace / "dreams").exists()
