"""`saebench store …` on a workspace with a harvest, an SAE and an index."""

import hashlib
import shutil
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from command_line import run
from typer.testing import CliRunner

from saebench.cli import app
from saebench.harvest.manifest import Manifest, Shard, ShardFile
from store import Catalog

sys.path.insert(0, str(Path(__file__).parent.parent / "store"))
import synthetic

HARVEST = "demo.stdlib-train"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of made-up text, the weights it names, and a harvest of random bytes with true checksums."""
    folder = tmp_path_factory.mktemp("made")
    synthetic.build(folder)
    (folder / "saes" / synthetic.SAE).mkdir(parents=True)
    (folder / "saes" / synthetic.SAE / "sae.safetensors").write_bytes(bytes(range(256)) * 8)
    Catalog(folder).add("sae", synthetic.SAE, {"sha256": hashlib.sha256(bytes(range(256)) * 8).hexdigest()})
    harvest = folder / "harvests" / HARVEST
    harvest.mkdir(parents=True)
    files = {}
    for part, name in (("contexts", "contexts.00000.parquet"), ("blocks.0", "blocks.0.00000.bin")):
        (harvest / name).write_bytes(part.encode() * 1000)
        files[part] = ShardFile(bytes=len(part) * 1000, sha256=hashlib.sha256(part.encode() * 1000).hexdigest())
    shards = [Shard(contexts=4, files=files)]
    Manifest(id=HARVEST, provenance={}, context_length=64, precision="float16", shards=shards).write(harvest)
    Catalog(folder).put("harvest", HARVEST, {"tokens": 256})
    return folder


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)


def test_check_says_what_is_sound(monkeypatch, capsys, made: Path):
    code, out, error = run(monkeypatch, capsys, "check", "--workspace", made)
    assert (code, error) == (0, "")
    assert len([line for line in out.splitlines() if " sound" in line]) == 4
    assert "NOT" not in out


@pytest.mark.parametrize(
    ("pattern", "at", "says"),
    [
        ("harvests/*/*.bin", 500, "blocks.0.00000.bin is corrupt"),
        ("harvests/*/*.parquet", 7, "contexts.00000.parquet is corrupt"),
        ("harvests/*/manifest.json", 0, "manifest.json is damaged"),
        ("saes/*/sae.safetensors", 1000, "sae.safetensors has changed since it was trained"),
        ("indexes/*.duckdb", 3 * 4096 + 100, "damaged"),
        ("catalog.duckdb", 3 * 4096 + 100, "catalog.duckdb"),
    ],
)
def test_check_finds_flipped_bytes(monkeypatch, capsys, copied: Path, pattern: str, at: int, says: str):
    [path] = copied.glob(pattern)
    flip(path, at)
    code, out, error = run(monkeypatch, capsys, "check", "--workspace", copied)
    assert code == 1
    assert says in out
    assert "saebench" in out or "run " in out
    assert len(error.splitlines()) == 1


def test_check_finds_what_is_missing(monkeypatch, capsys, copied: Path):
    [shard] = copied.glob("harvests/*/*.bin")
    shard.unlink()
    code, out, _ = run(monkeypatch, capsys, "check", "--workspace", copied)
    assert code == 1
    assert "blocks.0.00000.bin is missing" in out
    assert "run `saebench harvest` again" in out


def test_gc_lists_and_then_removes(monkeypatch, capsys, copied: Path):
    code, out, _ = run(monkeypatch, capsys, "gc", "--workspace", copied)
    assert (code, out.strip()) == (0, "nothing to remove")
    [newest] = copied.glob("indexes/*.duckdb")
    older = newest.with_name(newest.name[:-19] + "0123456789ab.duckdb")
    shutil.copy(newest, older)
    newest.touch()
    code, out, _ = run(monkeypatch, capsys, "gc", "--workspace", copied)
    assert code == 0
    assert older.name in out
    assert "--yes" in out
    assert older.exists()
    code, out, _ = run(monkeypatch, capsys, "gc", "--workspace", copied, "--yes")
    assert "removed 1" in out
    assert not older.exists()
    assert newest.exists()
    assert run(monkeypatch, capsys, "check", "--workspace", copied)[0] == 0


def test_export_writes_what_was_asked_for(monkeypatch, capsys, made: Path, tmp_path: Path):
    where = ("--workspace", made)
    query = ("--filter", "density > .01", "--order", "density DESC", "--limit", 5)
    assert run(monkeypatch, capsys, "export", tmp_path / "x.parquet", *where, *query)[0] == 0
    rows = pq.read_table(tmp_path / "x.parquet").to_pylist()
    assert len(rows) == 5
    assert [row["density"] for row in rows] == sorted((row["density"] for row in rows), reverse=True)
    assert run(monkeypatch, capsys, "export", tmp_path / "x.csv", *where, "--sql", "SELECT 7 AS n")[0] == 0
    assert (tmp_path / "x.csv").read_text() == "n\n7\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["check", "--workspace", "nowhere"], "workspace nowhere does not exist"),
        (["gc", "--workspace", "nowhere"], "workspace nowhere does not exist"),
        (["export", "x.parquet", "--workspace", "nowhere"], "there is no workspace nowhere"),
        (["export", "x.xlsx"], "name it .parquet or .csv"),
        (["export", "no/x.csv", "--workspace", "{made}"], "there is no folder no"),
        (["export", "x.csv", "--workspace", "{made}", "--filter", "densty > 1"], "did you mean 'density'"),
        (["export", "x.csv", "--workspace", "{made}", "--sql", "DROP TABLE feature"], "syntax error"),
    ],
)
def test_bad_input_is_one_line(monkeypatch, capsys, made: Path, tmp_path: Path, arguments: list[str], says: str):
    monkeypatch.chdir(tmp_path)
    code, _, error = run(monkeypatch, capsys, *(a.format(made=made) for a in arguments))
    assert code == 1
    assert len(error.splitlines()) == 1
    assert says in error
    assert list(tmp_path.iterdir()) == []


def test_every_verb_explains_itself():
    for verb in ("check", "gc", "export"):
        result = CliRunner().invoke(app, ["store", verb, "--help"])
        assert result.exit_code == 0
        assert "--workspace" in result.output
