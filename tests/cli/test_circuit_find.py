"""`saebench circuit find` as a user meets it: from a task to a circuit, killed and not, and what is refused."""

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from command_line import run_line
from killing import finish, kill_at

from saebench.circuits import Circuit
from saebench.circuits.files import circuit_path, read_circuit, work_folder, write_circuit
from saebench.circuits.sets import find_set, keep_set
from saebench.circuits.tasks import Pair, Task, write_task
from saebench.circuits.tasks.files import task_path
from saebench.files import file_sha256
from saebench.lm import LanguageModel
from saebench.saes import SAE, TopK

POINTS = ["blocks.0.hook_mlp_out", "blocks.1.hook_attn_out", "blocks.1.hook_mlp_out", "blocks.2.hook_resid_post"]
NAMES = "abcdefghijklmnop"
SETTINGS = {
    "node_threshold": 0.01, "edge_threshold": 0.001, "examples": 9, "heldout": 3, "batch": 3, "curve_points": 3,
    "sampled_nodes": 4,
}  # fmt: skip

OTHER = Circuit(
    id="taken", task="x", method="ig", aggregation="sum", node_threshold=1, edge_threshold=1, n_examples=1, metric=0,
    sites=[], saes={}, nodes=[], edges=[], error_share=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tiny_lm: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a set of untrained SAEs of the tiny model, and a task."""
    workspace = tmp_path_factory.mktemp("circuits") / "ws"
    for seed, point in enumerate(POINTS):
        SAE.create(tiny_lm.d_model, 48, TopK(k=6), seed).save(workspace / "saes" / point)
        config = {"provenance": {"model": tiny_lm.provenance, "hook_point": point}}
        (workspace / "saes" / point / "config.yaml").write_text(yaml.safe_dump(config))
    keep_set(workspace, "sites", tiny_lm.provenance, {point: point for point in POINTS})
    pairs = [Pair(clean=f"{a};{b};x", patch=f"{b};{a};x", answer="=", wrong=")") for a, b in itertools.pairwise(NAMES)]
    write_task(task_path(workspace, "letters"), Task(name="letters", templated=True, pairs=tuple(pairs)))
    return workspace


@pytest.fixture
def workspace(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "ws"))


def find(task: str, workspace: Path, *more: str, **changes: object) -> list[str]:
    settings = SETTINGS | changes
    overrides = [part for key, value in settings.items() for part in ("--set", f"circuit.{key}={value}")]
    return ["circuit", "find", task, "--workspace", str(workspace), *overrides, *more]


def test_from_a_task_to_a_circuit_and_on_to_other_tools(workspace: Path, tmp_path: Path, monkeypatch, capsys):
    code, out, error = run_line(monkeypatch, capsys, *find("letters", workspace, "--id", "mine"))
    assert (code, error) == (0, "")
    assert "← this circuit" in out
    found = read_circuit(workspace, "mine")
    [features] = [curve for curve in found.curves if curve.family == "features"]
    [point] = [point for point in features.points if point.threshold == 0.01]
    proven = (
        f"faithfulness {point.faithfulness:.2f} with {point.n_nodes} nodes at threshold 0.01, on 3 held-out examples"
    )
    assert proven in " ".join(out.split())
    assert (found.n_examples, found.saes, found.provenance["set"]) == (9, {point: point for point in POINTS}, "sites")
    assert found.provenance["saes"][POINTS[0]][1] == file_sha256(workspace / "saes" / POINTS[0] / "sae.safetensors")
    assert not work_folder(workspace, "mine").exists()
    written = circuit_path(workspace, "mine").stat().st_mtime_ns
    assert run_line(monkeypatch, capsys, *find("letters", workspace, "--id", "mine"))[0] == 0
    assert circuit_path(workspace, "mine").stat().st_mtime_ns == written  # nothing is done twice
    _, listed, _ = run_line(monkeypatch, capsys, "circuit", "list", "--workspace", workspace)
    [row] = [line.split() for line in listed.splitlines() if "mine" in line]
    assert row[-3:] == [f"{point.faithfulness:.2f}", str(point.n_nodes), "0.01"]
    file = tmp_path / "graph.json"
    assert run_line(monkeypatch, capsys, "circuit", "export", "mine", file, "--workspace", workspace)[0] == 0
    assert len(json.loads(file.read_text())["nodes"]) == len(found.nodes)
    assert run_line(monkeypatch, capsys, "circuit", "delete", "mine", "--workspace", workspace)[0] == 0
    assert not circuit_path(workspace, "mine").exists()
    code, _, error = run_line(monkeypatch, capsys, "circuit", "delete", "mine", "--workspace", workspace)
    assert (code, error) == (1, f"error: the workspace {workspace} has no circuit 'mine'; it has: none")


def test_killed_and_run_again(workspace: Path):
    arguments = find("letters", workspace, "--id", "killed")
    stages = [f"circuits/.work/killed/{name}" for name in ("features.1.*", "edges.0.npz", "curve.random.jsonl")]
    assert kill_at(stages, arguments, workspace) >= 2
    assert not circuit_path(workspace, "killed").exists()
    finish(arguments)
    finish(find("letters", workspace, "--id", "whole"))
    killed, whole = (read_circuit(workspace, name) for name in ("killed", "whole"))
    assert [node.id for node in killed.nodes] == [node.id for node in whole.nodes]
    assert killed.model_copy(update={"id": "whole"}).curves == whole.curves


def test_a_task_in_a_file_anywhere(workspace: Path, tmp_path: Path, monkeypatch, capsys):
    file = tmp_path / "letters.jsonl"
    shutil.copy(task_path(workspace, "letters"), file)
    assert run_line(monkeypatch, capsys, *find(str(file), workspace, "--id", "mine", curve_points=0))[0] == 0
    assert read_circuit(workspace, "mine").task == "letters"


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([{"clean": "a;b", "patch": "a;b;", "answer": "="}], "example 1: clean and patch must be equally long"),
        ([{"clean": "a;b", "patch": "b;a", "answer": "= b; c"}], "it must be one"),
        ([{"clean": "a;b", "patch": "b;a", "answer": "=", "wrong": "="}], "answer and wrong are both '='"),
        ([{"clean": "a;" * 30, "patch": "b;" * 30, "answer": "="}], "the model reads 32"),
        ([{"clean": "a;b", "answer": "="}], "has no patched prompts; choose the reference zero or mean"),
    ],
)
def test_tasks_that_cannot_be_used(workspace: Path, monkeypatch, capsys, pairs: list[dict], message: str):
    lines = [{"task": "bad"}, *pairs]
    task_path(workspace, "bad").write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, _, error = run_line(monkeypatch, capsys, *find("bad", workspace))
    assert code == 1
    assert message in error
    assert len(error.splitlines()) == 1
    assert not list((workspace / "circuits").glob("*.json"))


def test_what_is_not_there_or_has_changed(workspace: Path, tiny_lm: LanguageModel, monkeypatch, capsys):
    def refused(arguments: list[str]) -> str:
        code, _, error = run_line(monkeypatch, capsys, *arguments)
        assert (code, len(error.splitlines())) == (1, 1)
        return error

    assert "there is no task 'nope'; workspace" in refused(find("nope", workspace))
    assert "has no SAE set 'nope'; it has: sites" in refused(find("letters", workspace, "--saes", "nope"))
    assert "no node has an effect of 1e+09 or more" in refused(find("letters", workspace, node_threshold=1e9))
    keep_set(workspace, "short", tiny_lm.provenance, {POINTS[0]: "gone"})
    assert "SAE gone is gone" in refused(find("letters", workspace, "--saes", "short"))
    keep_set(workspace, "other", tiny_lm.provenance | {"sha256": "0" * 64}, {POINTS[0]: POINTS[0]})
    assert "was trained on another model" in refused(find("letters", workspace, "--saes", "other"))
    broken = SAE.load(workspace / "saes" / POINTS[0])
    with torch.no_grad():
        broken.W_dec[:] = torch.nan
    broken.save(workspace / "saes" / POINTS[0])
    assert "not finite" in refused(find("letters", workspace, "--saes", "sites"))


@pytest.fixture
def gutted(workspace: Path, tiny_folder: Path, tmp_path: Path) -> Path:
    """The workspace, its set on a model that has a tokenizer and no weights: what is refused otherwise than by its name
    was refused before anybody tried to open it.
    """
    model = tmp_path / "gutted"
    shutil.copytree(tiny_folder, model, ignore=shutil.ignore_patterns("*.safetensors"))
    chosen = find_set(workspace, "sites")
    keep_set(workspace, "sites", chosen.model | {"name": str(model)}, chosen.saes)
    return workspace


@pytest.mark.parametrize(
    ("task", "more", "changes", "message"),
    [
        ("lettres", [], {}, "there is no task 'lettres'; did you mean 'letters'? workspace"),
        ("close-braket", [], {}, "did you mean 'close-bracket'?"),
        ("none.jsonl", [], {}, "cannot read task none.jsonl: No such file or directory"),
        ("letters", ["--saes", "nope"], {}, "has no SAE set 'nope'; it has: odd, short, sites"),
        ("letters", ["--saes", "odd"], {}, "circuits cannot use the site 'blocks.0.hook_q'"),
        ("letters", ["--saes", "short"], {}, "SAE gone is gone"),
        ("letters", ["--method", "igg"], {}, "circuit.method: Input should be 'attrib', 'ig' or 'exact'"),
        ("letters", ["--id", "a/b"], {}, "'a/b' cannot be an id"),
        ("letters", ["--id", "taken"], {}, "has a circuit 'taken' already, made of other settings"),
        ("lonely", [], {}, "has no patched prompts; choose the reference zero or mean"),
        ("lonely", [], {"reference": "zero", "aggregation": "none"}, "in templated tasks only; 'lonely' is none"),
        ("uneven", [], {}, "example 1: clean and patch must be equally long"),
        ("letters", [], {}, "cannot open model"),
        ("close-bracket", [], {}, "cannot open model"),
    ],
)
def test_what_is_refused_without_opening_the_model(
    gutted: Path, tmp_path: Path, monkeypatch, capsys, task: str, more: list[str], changes: dict, message: str
):
    keep_set(gutted, "odd", {"name": "nowhere", "sha256": ""}, {"blocks.0.hook_q": "x"})
    keep_set(gutted, "short", find_set(gutted, "sites").model, {POINTS[0]: "gone"})
    write_task(task_path(gutted, "lonely"), Task(name="lonely", pairs=(Pair(clean="a;b", answer="="),)))
    write_task(task_path(gutted, "uneven"), Task(name="uneven", pairs=(Pair(clean="a;b", patch="a;", answer="="),)))
    write_circuit(gutted, OTHER)
    written = circuit_path(gutted, "taken").read_bytes()
    which = [] if "--saes" in more else ["--saes", "sites"]
    code, out, error = run_line(monkeypatch, capsys, *find(task, gutted, *more, *which, **changes))
    assert (code, out, len(error.splitlines())) == (1, "", 1)
    assert message in error
    assert circuit_path(gutted, "taken").read_bytes() == written
    assert not (gutted / "circuits" / ".work").exists()


def test_a_circuit_of_the_same_id_is_replaced_if_that_is_said(workspace: Path, monkeypatch, capsys):
    quick = {"curve_points": 0, "sampled_nodes": 0}
    assert run_line(monkeypatch, capsys, *find("letters", workspace, "--id", "mine", **quick))[0] == 0
    changed = find("letters", workspace, "--id", "mine", "--method", "attrib", **quick)
    code, _, error = run_line(monkeypatch, capsys, *changed)
    assert code == 1
    assert "choose another --id, or add --replace" in error
    assert read_circuit(workspace, "mine").method == "ig"
    assert run_line(monkeypatch, capsys, *changed, "--replace")[0] == 0
    assert read_circuit(workspace, "mine").method == "attrib"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["find", "lettres"], "there is no task 'lettres'"),
        (["find", "letters", "--saes", "nope"], "has no SAE set 'nope'"),
        (["find", "letters", "--method", "igg"], "circuit.method: Input should be"),
        (["find", "letters", "--id", "a/b"], "'a/b' cannot be an id"),
        (["find", "letters", "--id", "taken"], "has a circuit 'taken' already"),
        (["heads", "lettres"], "there is no task 'lettres'"),
        (["shift", "topic-slef", "--auto", "--probe-at", POINTS[0]], "there is no data 'topic-slef'"),
        (["shift", "topic-self", "--auto", "--probe-at", "blocks.0.hook_mlp"], "cannot use the site"),
    ],
)
def test_a_misspelt_name_is_refused_before_torch_is_loaded(workspace: Path, words: list[str], message: str):
    write_circuit(workspace, OTHER)
    code = (
        "import sys\nfrom saebench.cli import main\ntry:\n    main()\nfinally:\n"
        "    print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, "circuit", *words, "--workspace", str(workspace)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "[]\n")
    assert message in done.stderr
