"""Damage done on purpose is found; what nothing refers to is found and nothing else."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pytest
import synthetic
from synthetic import CORPUS, SAE, Synthetic

from store import Annotations, Catalog, FeatureStore, IndexWriter, index_id, indexes_folder, staging_folder
from store.check import check_catalog, check_indexes, check_saes
from store.garbage import find_garbage, remove_garbage


@pytest.fixture
def copied(workspace: Path, tmp_path: Path) -> Path:
    shutil.copytree(workspace, tmp_path, dirs_exist_ok=True)
    (tmp_path / "saes" / SAE).mkdir(parents=True)
    return tmp_path


def index_file(workspace: Path) -> Path:
    (path,) = indexes_folder(workspace).glob("*.duckdb")
    return path


def problems(workspace: Path, of_indexes: bool = False) -> list[str]:
    rest = [] if of_indexes else [*check_saes(workspace), ("", check_catalog(workspace))]
    lines = [line for _, lines in [*check_indexes(workspace), *rest] for line in lines or []]
    assert all("\n" not in line for line in lines)
    return lines


def test_a_sound_workspace_has_no_problems(copied: Path):
    assert problems(copied) == []
    assert find_garbage(copied) == []


def everything(path: Path) -> list[object] | None:
    """Every row of every table as readers see it, or None where reading fails."""
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            tables = [row[0] for row in connection.execute("SHOW TABLES").fetchall()]
            query = "SELECT count(*), bit_xor(hash(t)), sum(hash(t)::HUGEINT) FROM {} AS t"
            return [connection.execute(query.format(table)).fetchall() for table in sorted(tables)]
    except duckdb.Error:
        return None


def test_flipped_bytes_in_an_index_are_found(copied: Path):
    """Wherever a byte is flipped: it is found, or no reader can ever see it (unused ends of the file's pages)."""
    path = index_file(copied)
    whole = path.read_bytes()
    before = everything(path)
    rng = np.random.default_rng(0)
    missed = 0
    for at in rng.choice(len(whole), 10, replace=False):
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        path.write_bytes(damaged)
        if not problems(copied, of_indexes=True):
            missed += 1
            assert everything(path) == before
    path.write_bytes(whole)
    assert missed < 5
    assert problems(copied) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("DELETE FROM example WHERE feature = 5; UPDATE example SET place = place + 1 WHERE feature = 6", "an example"),
        ("UPDATE feature SET n_active = n_active + 1 WHERE feature = 7", "statistics are not those of its codes"),
        ("UPDATE feature SET mean = mean * 1.01 WHERE feature = 7", "statistics are not those of its codes"),
        ("UPDATE feature SET max_activation = 99 WHERE feature = 13", "statistics are not those of its codes"),
        ("DELETE FROM feature WHERE feature = 299", "features are not numbered"),
        ("UPDATE meta SET value = '1' WHERE key = 'n_codes'", "number of codes by feature"),
        ("UPDATE meta SET value = '77' WHERE key = 'n_dead'", "headline figures"),
        ("DELETE FROM meta WHERE key = 'l0'", "does not say 'l0'"),
        ("UPDATE meta SET value = '\"x\"' WHERE key = 'content_hash'", "should be called"),
        ("DELETE FROM by_feature WHERE rowid = 100", "by feature and those by token differ"),
        ("UPDATE by_feature SET half = half + 1 WHERE rowid = 100", "by feature and those by token differ"),
        ("INSERT INTO by_feature FROM by_feature LIMIT 1", "by feature are not sorted"),
        ("UPDATE histogram SET counts = [1] WHERE feature = 3", "histogram"),
        ("UPDATE context SET tokens = tokens[2:] WHERE context = 3", "tokens, spans and source"),
        ("DELETE FROM context WHERE context = 4", "contexts are not numbered"),
        ("DELETE FROM document WHERE document = 0", "a segment is of no document"),
        ("UPDATE neighbour SET neighbour = 300 WHERE feature = 3", "neighbour"),
        ("UPDATE coactive SET partner = feature WHERE feature = 3", "co-activation is with no other"),
        ("UPDATE negative SET half = half + 1", "a negative is at no activation"),
        (
            "UPDATE negative AS n SET place = 64 * context + position FROM activation AS a WHERE a.feature = n.feature",
            "a negative lies where its feature is active",
        ),
        ("UPDATE logit SET token = 1000000 WHERE feature = 3", "logit"),
        ("DROP TABLE histogram", "cannot tell whether a histogram"),
    ],
)
def test_what_does_not_agree_is_found(copied: Path, change: str, says: str):
    with duckdb.connect(str(index_file(copied))) as connection:
        connection.execute(change)
    found = problems(copied, of_indexes=True)
    assert any(says in line for line in found), found
    assert all(f"saebench index --sae {SAE}" in line for line in found)


def test_other_weights_are_found(copied: Path):
    weights = copied / "saes" / SAE / "sae.safetensors"
    weights.write_bytes(bytes(1000))
    assert list(check_saes(copied)) == [(SAE, None)], "nothing was noted, and nothing is claimed"
    Catalog(copied).add("sae", SAE, {"sha256": hashlib.sha256(bytes(1000)).hexdigest()})
    assert problems(copied) == []
    weights.write_bytes(bytes(999) + b"x")
    (line,) = problems(copied)
    assert "has changed since it was trained" in line
    assert "saebench train" in line


def test_catalogue_and_files_are_compared(copied: Path):
    catalog = Catalog(copied)
    catalog.put("sae", "gone.sae", {})
    catalog.put("harvest", "gone.harvest", {})
    catalog.put("index", "gone.sae.corpus", {"file": "x"})
    catalog.put("index", f"{SAE}.{CORPUS}", {"file": "another"})
    catalog.put("set", "whole", {"model": {}, "saes": {"blocks.0.hook_mlp_out": SAE}})
    catalog.put("set", "torn", {"model": {}, "saes": {"blocks.0.hook_mlp_out": SAE, "blocks.1.hook_mlp_out": "gone"}})
    Annotations(copied).set_label(SAE, 300, "beyond", "x")
    found = problems(copied)
    for says in (
        "has sae gone.sae, but its files are gone; run `saebench train`",
        "has harvest gone.harvest",
        "has index gone.sae.corpus",
        "has set torn, but not all its SAEs are left; run `saebench circuit set RECIPE --id torn`",
        f"does not know {index_file(copied).name}; run `saebench index --sae {SAE}`",
        f"table `label` has a feature 300 of {SAE}, which has 0 to 299",
    ):
        assert any(says in line for line in found), says
    assert len(found) == 6
    (copied / "catalog.duckdb").write_bytes(b"x" * 9000)
    (line,) = problems(copied)
    assert "catalog.duckdb" in line


def test_flipped_bytes_in_the_catalogue_are_found_or_harmless(copied: Path):
    path = copied / "catalog.duckdb"
    whole = path.read_bytes()
    before = everything(path)
    rng = np.random.default_rng(1)
    for at in rng.choice(len(whole), 8, replace=False):
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        path.write_bytes(damaged)
        if not check_catalog(copied):
            assert everything(path) == before


def test_garbage_is_listed_and_removed(copied: Path):
    folder = indexes_folder(copied)
    newest = index_file(copied)
    older = folder / f"{SAE}.{CORPUS}.0123456789ab.duckdb"
    shutil.copy(newest, older)
    newest.touch()
    stranger = folder / f"{SAE}.{CORPUS}.my-copy.duckdb"
    stranger.write_bytes(b"mine")
    other = index_id("other.sae", CORPUS)
    data = Synthetic()
    writer = IndexWriter(staging_folder(copied, other), data.n_features, synthetic.LENGTH, data.provenance)
    writer.add(data.block(0, 64))
    Catalog(copied).put("sae", "gone.sae", {})
    Catalog(copied).put("set", "torn", {"model": {}, "saes": {"blocks.0.hook_mlp_out": "gone.sae"}})
    Annotations(copied).set_label("gone.sae", 1, "kept", "x")
    found = find_garbage(copied)
    assert [one.name for one in found] == [older.name, "sae gone.sae", "set torn"], "a writer is at work"
    writer.close()
    found = find_garbage(copied)
    assert [one.name for one in found] == [older.name, f".building/{other}", "sae gone.sae", "set torn"]
    assert found[0].n_bytes == older.stat().st_size
    assert found[1].n_bytes > 1000
    assert older.exists(), "nothing goes before it is asked for"
    assert remove_garbage(copied, found) == found
    assert find_garbage(copied) == []
    assert not older.exists()
    assert not staging_folder(copied, other).exists()
    assert newest.exists()
    assert stranger.read_bytes() == b"mine"
    assert Catalog(copied).find("sae", "gone.sae") is None
    assert Catalog(copied).all("set") == []
    assert Annotations(copied).labels("gone.sae")[1].text == "kept"
    with FeatureStore.open(copied) as store:
        assert store.features(SAE).count() == 300


def test_what_has_come_to_life_since_is_not_removed(copied: Path):
    Catalog(copied).put("sae", "late.sae", {})
    found = find_garbage(copied)
    (copied / "saes" / "late.sae").mkdir()
    assert [one.name for one in found] == ["sae late.sae"]
    assert remove_garbage(copied, found) == []
    assert Catalog(copied).find("sae", "late.sae") is not None


BUILD = """
import sys, time, synthetic
from store import IndexWriter
data = synthetic.Synthetic()
writer = IndexWriter(sys.argv[1], data.n_features, synthetic.LENGTH, data.provenance)
writer.add(data.block(0, 64))
print("staged", flush=True)
time.sleep(600)
"""


def test_an_index_being_built_is_left_alone_until_its_process_is_gone(copied: Path, python: Callable):
    staging = staging_folder(copied, index_id("other.sae", CORPUS))
    process = python(BUILD, staging)
    assert process.stdout.readline() == "staged\n"
    assert find_garbage(copied) == []
    process.kill()
    process.wait()
    (one,) = find_garbage(copied)
    assert one.path == staging
    assert "would go on from here" in one.why


WORK = """
import sys, time
from pathlib import Path
from store.locks import acquire
lock = acquire(Path(sys.argv[1]), 0)
print("at work", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("folder", ["unlearning", "circuits"])
def test_what_is_not_finished_is_left_alone_while_a_process_is_at_it(copied: Path, python: Callable, folder: str):
    work = copied / folder / ".work" / "half.made"
    work.mkdir(parents=True)
    (work / "made_from.json").write_text("{}")
    process = python(WORK, work.with_name("half.made.lock"))
    assert process.stdout.readline() == "at work\n"
    assert find_garbage(copied) == []
    process.kill()
    process.wait()
    (one,) = find_garbage(copied)
    assert (one.name, one.path) == (f"{folder}/.work/half.made", work)
    assert "would go on from here" in one.why
    assert remove_garbage(copied, [one]) == [one]
    assert not work.exists()


def test_what_a_killed_process_was_writing_is_garbage_after_a_while(copied: Path):
    paths = [copied / place for place in ("unlearning/a.json.tmp", f"dreams/{SAE}/3.json.tmp", "maps/m.parquet.tmp")]
    for path in paths:
        path.parent.mkdir(parents=True)
        path.write_text("{")
    assert find_garbage(copied) == []  # somebody may be writing them
    for path in paths:
        os.utime(path, (0, 0))
    found = find_garbage(copied)
    assert {one.path for one in found} == set(paths)
    assert {one.why for one in found} == {"left over from a process that was killed"}
    assert remove_garbage(copied, found) == found
