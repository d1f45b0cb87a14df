"""`saebench circuit set`: an SAE for every site by one command, killed and not, and what cannot be used as a set."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from killing import contents, finish, kill_at
from typer.testing import CliRunner

from saebench.circuits.sets import find_set, keep_set
from saebench.circuits.sets_open import open_set
from saebench.cli import app, main
from saebench.errors import UserError
from saebench.files import file_sha256
from saebench.lm.load import hash_folder
from store import Catalog

SITES = ["blocks.0.hook_attn_out", "blocks.1.hook_mlp_out", "blocks.2.hook_resid_post"]


def arguments(model: Path, texts: Path, workspace: Path, *more: str, **changes: object) -> list[str]:
    settings = {
        "model.name": model,
        "corpus.name": texts,
        "corpus.max_tokens": 2000,
        "harvest.hook_points": json.dumps(SITES),
        "harvest.batch_contexts": 8,
        "harvest.shard_batches": 4,
        "train.tokens": 2500,
        "train.batch": 128,
        "train.ring_rows": 512,
        "train.checkpoint_every": 10,
        "train.sae.n_latents": 96,
        "train.sae.rule.k": 6,
        "train.sites": "{'*.hook_mlp_out': {rule: {name: topk, k: 12}}}",
        "evaluate.corpus.name": texts,
        "evaluate.corpus.max_tokens": 1500,
        "index.corpus.name": texts,
        "index.corpus.max_tokens": 500,
    } | {key.replace("__", "."): value for key, value in changes.items()}
    overrides = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return ["circuit", "set", "--id", "sites", "--workspace", str(workspace), *more, *overrides]


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("texts") / "texts"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number:02d}.txt").write_text(f"def file_{number}(x):\n    return '→ naïve' if x else None\n" * 40)
    return folder


@pytest.fixture(scope="module")
def made(tiny_folder, texts, tmp_path_factory) -> Path:
    """A workspace with a set of three sites."""
    workspace = tmp_path_factory.mktemp("made") / "ws"
    result = CliRunner().invoke(app, arguments(tiny_folder, texts, workspace), catch_exceptions=False)
    assert all(site in result.output for site in SITES)
    assert "set       sites · 3 SAEs" in result.output
    return workspace


@pytest.fixture
def copied(made, tmp_path) -> Path:
    shutil.copytree(made, tmp_path / "ws")
    return tmp_path / "ws"


def test_one_command_makes_and_measures_an_sae_for_every_site(made, tiny_lm):
    chosen = find_set(made)
    assert (chosen.id, list(chosen.saes), chosen.model) == ("sites", SITES, tiny_lm.provenance)
    assert len(list((made / "harvests").iterdir())) == 1
    rows = {row["id"]: row for row in Catalog(made).all("sae")}
    assert [sae.rpartition(".")[2] for sae in chosen.saes.values()] == ["topk-96-k6", "topk-96-k12", "topk-96-k6"]
    for site, sae in chosen.saes.items():
        assert rows[sae]["hook_point"] == site
        assert {"heldout_fvu", "ce_recovered", "heldout_dead", "heldout_l0"} <= rows[sae].keys()
        assert (made / "saes" / sae / "evaluation.json").exists()


def test_an_opened_set_is_the_saes_on_their_model(made, tiny_lm):
    chosen = find_set(made, "sites")
    opened = open_set(made, chosen)
    assert list(opened.saes) == list(opened.sha256s) == SITES
    assert opened.lm.sha256 == tiny_lm.sha256
    tokens = torch.arange(20)[None]
    for site, x in opened.lm.activations(tokens, SITES).items():
        codes, _ = opened.saes[site].reconstruct(x.flatten(0, 1))
        assert len(codes.values) == 20 * (12 if "mlp" in site else 6)
        assert opened.sha256s[site] == file_sha256(made / "saes" / chosen.saes[site] / "sae.safetensors")


def test_done_stages_are_not_done_again_and_indexes_can_be_added(copied, tiny_folder, texts):
    def times() -> dict[Path, int]:
        files = [*copied.glob("harvests/*/*.bin"), *copied.glob("saes/*/*.safetensors")]
        return {path: path.stat().st_mtime_ns for path in files}

    before, figures = times(), {row["id"]: row for row in Catalog(copied).all("sae")}
    result = CliRunner().invoke(app, arguments(tiny_folder, texts, copied, "--index"), catch_exceptions=False)
    assert "sites · 3 SAEs" in result.output
    assert times() == before
    assert {row["id"]: row for row in Catalog(copied).all("sae")} == figures
    assert {row["sae"] for row in Catalog(copied).all("index")} == set(find_set(copied).saes.values())


@pytest.mark.timeout(560)
def test_killed_on_the_way_it_ends_the_same(made, tiny_folder, texts, tmp_path):
    killed = tmp_path / "ws"
    stages = [
        "harvests/*/*.00000.bin",
        "saes/*hook_attn_out*/checkpoints/*",
        "saes/*hook_mlp_out*/sae.safetensors",
        "saes/*hook_attn_out*/evaluation.json",
    ]
    assert kill_at(stages, arguments(tiny_folder, texts, killed), killed) >= 3
    finish(arguments(tiny_folder, texts, killed))
    whole = tmp_path / "whole"
    finish(arguments(tiny_folder, texts, whole))  # not `made`: that was trained with another number of threads
    assert contents(killed) == contents(whole)


def fail(monkeypatch, capsys, command: list[str]) -> str:
    """The error line of a command that must fail."""
    monkeypatch.setattr("sys.argv", ["saebench", *command])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    return line


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"harvest__hook_points": "[blocks.7.hook_mlp_out]"}, "no hook point 'blocks.7.hook_mlp_out'"),
        ({"harvest__hook_points": f"[{SITES[0]}, {SITES[0]}]"}, f"names {SITES[0]} twice"),
        ({"train__variants": "[{n_latents: 64}, {n_latents: 32}]"}, "leave train.variants out"),
        ({"train__sites": "{'*.hook_z': {n_latents: 64}}"}, "'*.hook_z' fits none of the hook points blocks.0"),
        ({"evaluate__corpus__name": "./nowhere"}, "does not exist"),
    ],
)
def test_what_makes_no_set_is_told_before_the_work(monkeypatch, capsys, tiny_folder, texts, tmp_path, changes, says):
    assert says in fail(monkeypatch, capsys, arguments(tiny_folder, texts, tmp_path / "ws", **changes))
    assert not (tmp_path / "ws").exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"harvest__hook_points": "[blocks.1.hook_mlp_out, blocks.1.hook_q]"},
            "circuits cannot use the site 'blocks.1.hook_q'",
        ),
        ({"corpus__name": "stdlib-trian"}, "unknown corpus 'stdlib-trian'"),
        ({"evaluate__corpus__name": "./nowhere"}, "corpus './nowhere' does not exist"),
        ({}, "has no config.json"),
    ],
)
def test_what_is_told_before_the_model_is_opened(monkeypatch, capsys, texts, tmp_path, changes, says):
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    assert says in fail(monkeypatch, capsys, arguments(nothing, texts, tmp_path / "ws", **changes))


def test_a_name_that_cannot_be_one(monkeypatch, capsys, tiny_folder, texts, tmp_path):
    line = fail(monkeypatch, capsys, arguments(tiny_folder, texts, tmp_path / "ws", "--id", "a/b"))
    assert "'a/b' cannot be an id" in line


def refusal(workspace: Path) -> str:
    """The one line with which the workspace's set is refused."""
    with pytest.raises(UserError) as refused:
        open_set(workspace, find_set(workspace))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def weights(workspace: Path) -> Path:
    return workspace / "saes" / find_set(workspace).saes[SITES[1]] / "sae.safetensors"


def test_a_set_without_one_of_its_saes_is_refused(copied):
    shutil.rmtree(weights(copied).parent)
    line = refusal(copied)
    assert f"SAE set 'sites' cannot be used at {SITES[1]}" in line
    assert "is gone; run `saebench circuit set RECIPE --id sites`" in line


def test_a_set_with_a_changed_sae_is_refused(copied):
    raw = bytearray(weights(copied).read_bytes())
    raw[-1] ^= 1
    weights(copied).write_bytes(raw)
    assert "has changed since it was trained: restore it, or delete its folder; run" in refusal(copied)


def test_a_set_with_an_sae_of_another_model_is_refused(copied):
    path = weights(copied).with_name("config.yaml")
    config = yaml.safe_load(path.read_text())
    config["provenance"]["model"]["sha256"] = "0" * 64
    path.write_text(yaml.safe_dump(config))
    assert "was trained on another model (sha256 000000000000, the set's is" in refusal(copied)


def test_a_set_with_an_sae_of_another_site_is_refused(copied):
    chosen = find_set(copied)
    keep_set(copied, "sites", chosen.model, {SITES[0]: chosen.saes[SITES[1]]})
    assert f"was trained on {SITES[1]}" in refusal(copied)


def test_a_set_whose_model_has_changed_is_refused(copied, tiny_folder, tmp_path):
    model = tmp_path / "tiny"
    shutil.copytree(tiny_folder, model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"layer_norm_epsilon": 1e-4}))
    chosen = find_set(copied)
    keep_set(copied, "sites", chosen.model | {"name": str(model)}, chosen.saes)
    line = refusal(copied)
    assert "is not the one that SAE set sites was trained on" in line
    assert hash_folder(model)[:12] in line


def test_which_set_is_meant(tmp_path):
    with pytest.raises(UserError, match="has no SAE set; make one with: saebench circuit set"):
        find_set(tmp_path)
    for name in ("a", "b"):
        keep_set(tmp_path, name, {}, {})
    with pytest.raises(UserError, match=r"several SAE sets \(a, b\); choose one with --saes"):
        find_set(tmp_path)
    with pytest.raises(UserError, match="no SAE set 'c'; it has: a, b"):
        find_set(tmp_path, "c")
