"""`saebench store export --to` and `saebench store import`, as a user meets them."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from command_line import run
from safetensors.numpy import load_file, save_file

from saebench.lm.load import demo_folder
from store import FeatureStore

sys.path.insert(0, str(Path(__file__).parent.parent / "store"))
import synthetic
from delphi_files import save_splits


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    synthetic.build(folder)
    return folder


def test_there_and_back(monkeypatch, capsys, made: Path, tmp_path: Path):
    chosen = ("--filter", "not dead and not dense", "--order", "max_activation desc, feature", "--limit", 3)
    out = tmp_path / "sd"
    code, said, error = run(monkeypatch, capsys, "export", out, "-w", made, "--to", "sae_dashboard", *chosen)
    assert (code, error, said.split()) == (0, "", ["export", str(out)])
    with FeatureStore.open(made, threads=1) as store:
        wanted = store.features().filter("not dead and not dense").order("max_activation DESC, feature").limit(3).rows()
    rows = json.loads((out / "batch-0.json").read_text())["features"]
    assert [row["feature_index"] for row in rows] == [row["feature"] for row in wanted]
    code, said, error = run(monkeypatch, capsys, "import", out, "-w", tmp_path / "w", "--sae", "theirs")
    assert (code, error) == (0, "")
    with FeatureStore.open(tmp_path / "w", threads=1) as store:
        assert store.index().id == "theirs.imported"
        assert str(store.index().path) in said
        found = store.features().filter("not dead").order("max_activation DESC, feature").rows()
        assert [row["max_activation"] for row in found] == [row["max_activation"] for row in wanted]


def test_neuronpedia_names(monkeypatch, capsys, made: Path, tmp_path: Path):
    names = ("--model", "gpt2-small", "--layer", 9, "--source-set", "res-jb", "--creator", "Ada")
    arguments = ("--to", "neuronpedia", "--limit", 2, *names)
    assert run(monkeypatch, capsys, "export", tmp_path / "np", "-w", made, *arguments)[0] == 0
    assert (tmp_path / "np" / "gpt2-small" / "9-res-jb" / "features" / "batch-0.jsonl.gz").exists()


def test_delphi_with_a_tokenizer(monkeypatch, capsys, tmp_path: Path):
    """Ids of the synthetic corpus, read with the demo's tokenizer, whose special token is 0."""
    folder = save_splits(tmp_path / "layers.2", synthetic.Synthetic())
    code, _, error = run(monkeypatch, capsys, "import", folder, "-w", tmp_path / "w")
    assert code == 1
    assert "name the model's tokenizer with --tokenizer" in error
    assert len(error.splitlines()) == 1
    code, _, error = run(monkeypatch, capsys, "import", folder, "-w", tmp_path / "w", "--tokenizer", "./nothing")
    assert (code, error) == (1, "error: there is no tokenizer ./nothing; name a tokenizer.json, or a folder with one")
    assert not (tmp_path / "w").exists()
    for name in ("demo", demo_folder(), demo_folder() / "tokenizer.json"):
        assert run(monkeypatch, capsys, "import", folder, "-w", tmp_path / "w", "--tokenizer", name)[0] == 0
    assert len(list((tmp_path / "w" / "indexes").glob("*.duckdb"))) == 1
    sae = tmp_path / "w" / "saes" / "mine"
    sae.mkdir(parents=True)
    (sae / "config.yaml").write_text("provenance: {model: {name: demo}}\n")
    assert run(monkeypatch, capsys, "import", folder, "-w", tmp_path / "w", "--sae", "mine")[0] == 0


def test_begin_tokens_of_the_tokenizer_are_special(monkeypatch, capsys, tmp_path: Path):
    folder = save_splits(tmp_path / "layers.2", synthetic.Synthetic(), 1)
    path = folder / "0_299.safetensors"
    arrays = load_file(path)
    arrays["tokens"][:, 0] = 0
    save_file(arrays, path)
    assert run(monkeypatch, capsys, "import", folder, "-w", tmp_path / "w", "--tokenizer", "demo")[0] == 0
    with FeatureStore.open(tmp_path / "w", threads=1) as store:
        assert store.index().meta["special_tokens"] == [0]
        assert store.context(3).special.index(True) == 0
        assert store.codes(3).filter("position = 0").count() == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("export", "OUT", "--to", "postgres"), "choose one of sae_dashboard, neuronpedia"),
        (("export", "OUT", "--to", "neuronpedia", "--sql", "FROM meta"), "--sql gives rows, --to writes features"),
        (("export", "OUT"), "name it .parquet or .csv, or say --to which tool"),
        (("export", "OUT", "--to", "neuronpedia", "--filter", "nothing > 1"), "nothing"),
        (("import", "OUT"), "there is no"),
        (("import", "."), "has no batch-0.json"),
    ],
)
def test_mistakes_are_one_line(monkeypatch, capsys, made: Path, tmp_path: Path, arguments: tuple, says: str):
    monkeypatch.chdir(tmp_path)
    given = [tmp_path / "out" if argument == "OUT" else argument for argument in arguments]
    code, _, error = run(monkeypatch, capsys, *given, "-w", made)
    assert code == 1
    assert says in error
    assert len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_file_leaves_nothing(monkeypatch, capsys, made: Path, tmp_path: Path):
    run(monkeypatch, capsys, "export", tmp_path / "sd", "-w", made, "--to", "sae_dashboard", "--limit", 2)
    path = tmp_path / "sd" / "batch-0.json"
    path.write_bytes(path.read_bytes()[:-40])
    code, _, error = run(monkeypatch, capsys, "import", tmp_path / "sd", "-w", tmp_path / "w")
    assert code == 1
    assert "is no JSON" in error
    shutil.rmtree(tmp_path / "sd")
    assert list(tmp_path.iterdir()) == []
