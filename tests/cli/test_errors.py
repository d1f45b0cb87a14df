"""Bad input: one line on stderr that says what to do, exit code 1 (2 for the command line itself)."""

import re
import socket
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import saebench.cli
from saebench.cli import app, main
from saebench.cli.recipe import Recipe, read_recipe
from saebench.saes import RULES
from saebench.training.config import build_rule
from store import Catalog


def fail(monkeypatch, capsys, *arguments: str) -> str:
    """The error line of a command that must fail."""
    monkeypatch.setattr("sys.argv", ["saebench", *map(str, arguments)])
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    error = capsys.readouterr().err
    [line] = [line for line in error.splitlines() if line.strip()]
    return line


@pytest.fixture
def failing(monkeypatch, capsys, tmp_path, tiny_folder):
    def run(verb, *settings):
        overrides = [part for setting in settings for part in ("--set", setting)]
        return fail(
            monkeypatch, capsys, verb, "--workspace", tmp_path / "ws", "--set", f"model.name={tiny_folder}", *overrides
        )

    return run


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("harvest.hook_point=x", "unknown key 'harvest.hook_point'"),
        ("train.sae.rule.k=many", "train.sae.rule.k"),
        ("train.sae.rule.kk=1", "unknown key 'train.sae.rule.kk'"),
        ("train.sae.rule=topk", "a rule is a mapping"),
        ("train.sae.rule={name: [a]}", "train.sae.rule: unknown rule; there are topk"),
        ("harvest.precision=float8", "harvest.precision"),
        ("nonsense", "is not KEY=VALUE"),
        ("model.name.deep=1", "is a value, not a section"),
        ("harvest.hook_points=[blocks.7.hook_resid_post]", "no hook point 'blocks.7.hook_resid_post'"),
        ("corpus.name=./nowhere", "does not exist"),
        ("corpus.name=stdlib-other", "unknown corpus"),
        ("model.name=./nowhere", "does not exist"),
        ("model.name=no-such-org/no-such-model", "cannot open model"),
        ("model.device=cuda:99", "cannot be used here"),
        ("corpus.context_length=4096", "more than the model's 32"),
    ],
)
def test_bad_settings(failing, setting, says):
    assert says in failing("harvest", setting)


def test_an_empty_corpus(failing, tmp_path):
    (tmp_path / "empty.txt").write_text("")
    assert "holds no text" in failing("harvest", f"corpus.name={tmp_path / 'empty.txt'}")


def test_bad_recipes(monkeypatch, capsys, tmp_path):
    assert "cannot read recipe" in fail(monkeypatch, capsys, "harvest", tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1\n")
    assert "not valid YAML" in fail(monkeypatch, capsys, "harvest", tmp_path / "bad.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    assert "must be a mapping" in fail(monkeypatch, capsys, "harvest", tmp_path / "list.yaml")


@pytest.mark.parametrize(
    ("verb", "says"),
    [("train", "run `saebench harvest`"), ("index", "run `saebench train`"), ("evaluate", "run `saebench train`")],
)
def test_steps_out_of_order(monkeypatch, capsys, tmp_path, verb, says):
    assert says in fail(monkeypatch, capsys, verb, "--workspace", tmp_path / "ws")


def test_unknown_ids(monkeypatch, capsys, tmp_path):
    ws = tmp_path / "ws"
    Catalog(ws)
    assert "no finished SAE 'x'" in fail(monkeypatch, capsys, "index", "--workspace", ws, "--sae", "x")
    assert "no harvest" in fail(monkeypatch, capsys, "train", "--workspace", ws, "--harvest", "x")


def test_serve_says_why_it_cannot(monkeypatch, capsys, tmp_path):
    assert "does not exist" in fail(monkeypatch, capsys, "serve", "--workspace", tmp_path / "ws")
    Catalog(tmp_path / "ws")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for verb in ("serve", "demo"):
            assert "in use" in fail(monkeypatch, capsys, verb, "--workspace", tmp_path / "ws", "--port", port)


def test_a_workspace_from_the_future(monkeypatch, capsys, tmp_path, failing):
    import duckdb

    catalog = Catalog(tmp_path / "ws")
    with duckdb.connect(str(catalog.path)) as connection:
        connection.execute("INSERT INTO schema_version VALUES (99)")
    assert re.search("newer", failing("harvest"))


def test_every_verb_explains_itself():
    for verb in ("harvest", "train", "evaluate", "index", "serve", "demo"):
        result = CliRunner().invoke(app, [verb, "--help"])
        assert result.exit_code == 0
        assert "--workspace" in result.output
    assert CliRunner().invoke(app, ["--version"]).output.strip() == saebench.__version__


def test_the_printed_recipe_is_the_demo():
    result = CliRunner().invoke(app, ["recipe"])
    assert Recipe.model_validate(yaml.safe_load(result.output)) == Recipe()


def test_the_demo_recipe_file_is_the_demo():
    assert read_recipe(Path("configs/demo.yaml"), []) == Recipe()


@pytest.mark.parametrize("path", sorted(Path("configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_is_valid(path):
    if path.stem != "demo-lm":
        read_recipe(path, [])


@pytest.mark.parametrize("path", sorted(Path("configs").rglob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_recipes_are_valid(path):
    if path.name != "demo-lm.yaml":  # the language model's, read by another program
        config = read_recipe(path, []).train
        assert all(build_rule(member.resolve(256).sae.rule) for member in config.members())


def test_every_rule_has_a_recipe():
    assert {read_recipe(path, []).train.sae.rule.name for path in Path("configs/rules").iterdir()} == set(RULES)
