"""Building an index: interrupted, damaged, mismatched, on a full disk."""

import itertools
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st
from synthetic import LENGTH, Synthetic

import store.build
import store.writer
from store import FeatureStore, IndexWriter, StoreError, find_index, index_id, indexes_folder, staging_folder
from store.errors import explained
from store.memory import LEAST_MEMORY
from store.projections import recut

ID = index_id(synthetic.SAE, synthetic.CORPUS)


def writer_of(workspace: Path, data: Synthetic, **changed: object) -> IndexWriter:
    return IndexWriter(staging_folder(workspace, ID), data.n_features, LENGTH, {**data.provenance, **changed})


def finish(writer: IndexWriter, workspace: Path, data: Synthetic) -> Path:
    return writer.finish(indexes_folder(workspace), ID, data.documents, data.vocabulary, data.decoder)


def files(workspace: Path) -> list[str]:
    return sorted(str(path.relative_to(workspace)) for path in workspace.rglob("*") if path.is_file())


def only_index(workspace: Path) -> Path:
    (path,) = indexes_folder(workspace).glob("*.duckdb")
    return path


@pytest.fixture
def staged(tmp_path: Path, data: Synthetic) -> IndexWriter:
    writer = writer_of(tmp_path, data)
    for block in data.blocks(160):
        writer.add(block)
    return writer


def test_nothing_but_the_index_remains(workspace: Path):
    assert files(workspace) == ["catalog.duckdb", "catalog.duckdb.lock", f"indexes/{only_index(workspace).name}"]


def test_interrupted_at_random_and_cut_differently_gives_the_same_bytes(
    workspace: Path, tmp_path: Path, python: Callable
):
    """A process that builds is killed again and again, at random moments of staging and of the final sort."""
    code = "import sys, synthetic; from pathlib import Path; synthetic.build(Path(sys.argv[1]), contexts_per_block=23)"
    moments = random.Random(7)
    kills = 0
    for attempt in range(40):
        process = python(code, tmp_path)
        if attempt < 6:
            time.sleep(moments.uniform(0.5, 4.5))
            process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        if process.returncode == 0 and attempt >= 6:
            break
    assert kills >= 2
    assert only_index(tmp_path).read_bytes() == only_index(workspace).read_bytes()
    assert files(tmp_path) == files(workspace)


def test_killed_between_file_operations(tmp_path: Path, workspace: Path, python: Callable, data: Synthetic):
    """Where the random test may not come: die at a sync, rename or unlink, each time a little later."""
    code = """
import os, sys, signal, synthetic
from pathlib import Path
left = int(sys.argv[2])
def count(original):
    def counted(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)
    return counted
os.fsync, os.replace, os.rename, os.unlink = map(count, (os.fsync, os.replace, os.rename, os.unlink))
synthetic.build(Path(sys.argv[1]), contexts_per_block=160)
"""
    n_contexts = 0
    for attempt in range(40):
        process = python(code, tmp_path, 2 + 7 * attempt)
        _, errors = process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors
        if staging_folder(tmp_path, ID).exists() and not list(indexes_folder(tmp_path).glob("*.duckdb")):
            staged = writer_of(tmp_path, data).n_contexts
            assert staged >= n_contexts
            n_contexts = staged
    assert process.returncode == 0
    assert only_index(tmp_path).read_bytes() == only_index(workspace).read_bytes()


def test_finishing_again_after_the_rename_changes_nothing(tmp_path: Path, workspace: Path):
    shutil.copytree(workspace, tmp_path, dirs_exist_ok=True)
    first = only_index(tmp_path)
    written = first.stat().st_mtime_ns
    assert synthetic.build(tmp_path) == first
    assert first.stat().st_mtime_ns == written


def test_find_index_knows_what_it_was_made_from(workspace: Path, data: Synthetic):
    folder = indexes_folder(workspace)
    assert find_index(folder, ID, data.provenance) == only_index(workspace)
    assert find_index(folder, ID, {**data.provenance, "seed": 1}) is None
    assert find_index(folder, "other.corpus", data.provenance) is None


def test_another_sae_or_corpus_never_mixes_in(staged: IndexWriter, tmp_path: Path, data: Synthetic):
    staged.close()
    with pytest.raises(StoreError, match=r"something else \(different provenance.sae.sha256\); delete that folder"):
        writer_of(tmp_path, data, sae={**data.provenance["sae"], "sha256": "f" * 64})
    with pytest.raises(StoreError, match="different n_latents"):
        IndexWriter(staging_folder(tmp_path, ID), 17, LENGTH, data.provenance)


def test_two_processes_cannot_build_the_same_index(staged: IndexWriter, tmp_path: Path, data: Synthetic):
    with pytest.raises(StoreError, match="another process is building"):
        writer_of(tmp_path, data)


@pytest.mark.parametrize("pattern", ["contexts-0000000160*", "codes-0000000160*"])
@pytest.mark.parametrize("damage", ["truncate", "flip"])
def test_a_damaged_part_is_named(staged: IndexWriter, tmp_path: Path, data: Synthetic, pattern: str, damage: str):
    (part,) = staging_folder(tmp_path, ID).glob(pattern)
    content = bytearray(part.read_bytes())
    if damage == "truncate":
        part.write_bytes(content[: len(content) // 2])
        staged.close()
        with pytest.raises(StoreError, match=f"{part.name} is damaged; delete the folder"):
            writer_of(tmp_path, data)
    else:
        content[len(content) // 3] ^= 255
        part.write_bytes(content)
        with pytest.raises(StoreError, match=f"{part.name} is damaged; delete the folder") as raised:
            finish(staged, tmp_path, data)
        assert "\n" not in str(raised.value)
        assert not list(indexes_folder(tmp_path).glob("*.duckdb"))


def test_leftovers_of_a_killed_process_are_swept(staged: IndexWriter, tmp_path: Path, data: Synthetic):
    folder = staging_folder(tmp_path, ID)
    first, second = sorted(folder.glob("contexts-*"))
    second.unlink()  # its codes were written, but not yet it
    (folder / "contexts-0000000320-0000000400.parquet.tmp").write_bytes(b"half")
    (folder / "building").mkdir()
    staged.close()
    writer = writer_of(tmp_path, data)
    assert writer.n_contexts == 160
    assert sorted(path.name for path in folder.glob("*.parquet*")) == [
        first.name.replace("contexts", "codes"),
        first.name,
    ]


FULL = """
import resource, sys, synthetic
from pathlib import Path
from store import StoreError
import store.writer
if sys.argv[2] == "sort":
    build, store.writer._build_elsewhere = store.writer._build_elsewhere, lambda *a: limit() or build(*a)
def limit():
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
if sys.argv[2] == "stage":
    limit()
try:
    synthetic.build(Path(sys.argv[1]))
except StoreError as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize(("moment", "limit"), [("stage", 5_000), ("sort", 100_000)])
def test_a_full_disk_says_so_and_can_be_continued(
    tmp_path: Path, workspace: Path, python: Callable, moment: str, limit: int
):
    process = python(FULL, tmp_path, moment, limit)
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "the disk is full; free some space and run the same command again" in errors
    assert len(errors.strip().splitlines()) == 1
    assert not [name for name in files(tmp_path) if name.endswith((".tmp", ".duckdb"))]
    synthetic.build(tmp_path)
    assert only_index(tmp_path).read_bytes() == only_index(workspace).read_bytes()


def test_memory_changes_nothing_but_too_little_is_refused(
    staged: IndexWriter, tmp_path: Path, workspace: Path, data: Synthetic
):
    inputs = (indexes_folder(tmp_path), ID, data.documents, data.vocabulary, data.decoder)
    with pytest.raises(StoreError, match="cannot be built in 1000 bytes; allow 256 MiB or more"):
        staged.finish(*inputs, memory=1000)
    assert staged.finish(*inputs, memory=LEAST_MEMORY).read_bytes() == only_index(workspace).read_bytes()


def test_no_space_left_is_a_full_disk(tmp_path: Path):
    full = Path("/dev/full")
    with pytest.raises(StoreError, match="the disk is full"), explained("cannot write", full):
        full.write_bytes(bytes(100_000))


def test_an_empty_corpus_is_an_error(tmp_path: Path, data: Synthetic):
    with pytest.raises(StoreError, match="no contexts"):
        finish(writer_of(tmp_path, data), tmp_path, data)


def test_tables_that_do_not_fit(staged: IndexWriter, tmp_path: Path, data: Synthetic):
    folder = indexes_folder(tmp_path)
    none = np.zeros_like(data.decoder.promoted)
    decoder = replace(data.decoder, promoted=none, suppressed=none)
    with pytest.raises(StoreError, match="outside the vocabulary"):
        staged.finish(folder, ID, data.documents, data.vocabulary[:260], decoder)
    with pytest.raises(StoreError, match="contexts name document"):
        staged.finish(folder, ID, data.documents[:3], data.vocabulary, data.decoder)
    decoder = replace(data.decoder, decoder_norm=np.ones(5, np.float32))
    with pytest.raises(StoreError, match="decoder_norm has 5 rows for 300"):
        staged.finish(folder, ID, data.documents, data.vocabulary, decoder)
    assert finish(staged, tmp_path, data).exists()


def changed(data: Synthetic, **fields: object):
    return replace(data.block(0, 4), **fields)


def test_blocks_that_make_no_sense(tmp_path: Path, data: Synthetic):
    writer = writer_of(tmp_path, data)
    block = data.block(0, 4)
    bad_values = {
        "is not finite": np.full_like(block.values, np.nan),
        "must lie between": np.full_like(block.values, 70_000),
        "must lie between 0": -block.values,
    }
    for message, values in bad_values.items():
        with pytest.raises(StoreError, match=message):
            writer.add(changed(data, values=values))
    with pytest.raises(StoreError, match="outside 0 … 299"):
        writer.add(changed(data, features=block.features + 300))
    with pytest.raises(StoreError, match="same feature twice"):
        writer.add(changed(data, features=np.zeros_like(block.features)))
    nothing = {"special": np.ones_like(block.special), "bounds": np.zeros_like(block.bounds), "source": [b""] * 4}
    with pytest.raises(StoreError, match="special token has codes"):
        writer.add(changed(data, **nothing))
    with pytest.raises(StoreError, match="do not end at the end"):
        writer.add(changed(data, source=[b"x"] * 4))
    with pytest.raises(StoreError, match="belongs to no document"):
        writer.add(changed(data, segments=[[]] * 4))
    with pytest.raises(StoreError, match="offsets"):
        writer.add(changed(data, offsets=block.offsets[:-1]))
    with pytest.raises(StoreError, match="contexts have 64 tokens"):
        writer.add(changed(data, tokens=block.tokens[:, :-1]))
    assert writer.n_contexts == 0
    assert [path.name for path in staging_folder(tmp_path, ID).iterdir()] == ["manifest.json"]


def test_zeros_and_what_rounds_to_zero_are_left_out(tmp_path: Path, data: Synthetic):
    writer = writer_of(tmp_path, data)
    values = data.block(0, 4).values.copy()
    values[::2] = 0
    values[1::4] = 1e-9
    writer.add(changed(data, values=values))
    finish(writer, tmp_path, data)
    with FeatureStore.open(tmp_path) as store:
        assert store.index().meta["n_codes"] == (values.astype(np.float16) > 0).sum()


def test_a_new_version_stands_beside_the_old(tmp_path: Path, workspace: Path, data: Synthetic):
    old = Path(shutil.copy(only_index(workspace), indexes_folder(tmp_path).mkdir() or indexes_folder(tmp_path)))
    time.sleep(0.01)
    with FeatureStore.open(tmp_path) as store:
        before = store.index()
        writer = writer_of(tmp_path, data, seed=5)
        for block in data.blocks():
            writer.add(block)
        new = finish(writer, tmp_path, data)
        assert old.exists()
        assert new != old
        assert store.index().path == new
        assert store.index().meta["provenance"]["seed"] == 5
        assert before.meta["provenance"]["seed"] == 0
        assert before.features.count() == 300


@given(st.lists(st.integers(0, 30), max_size=8), st.integers(1, 40))
def test_rows_are_cut_anew_in_order(sizes: list[int], size: int):
    ends = np.cumsum([0, *sizes])
    pieces = [pa.table({"n": np.arange(start, stop)}) for start, stop in itertools.pairwise(ends)]
    found = list(recut(iter(pieces), size))
    assert [row for table in found for row in table["n"].to_pylist()] == list(range(sum(sizes)))
    assert all(table.num_rows == size for table in found[:-1])
    assert all(0 < table.num_rows <= size for table in found)


def test_rows_of_several_transactions_are_those_of_one(
    workspace: Path, tmp_path: Path, staged: IndexWriter, data: Synthetic, monkeypatch: pytest.MonkeyPatch
):
    """With row groups so small that even these data fill many."""
    small = {"ROW_GROUP": 2048, "LOOKED_UP": 2048, "_INSERTS_AT_ONCE": 1, "_GROUPS_AT_ONCE": 1}
    for name, value in small.items():
        monkeypatch.setattr(store.build, name, value)
    monkeypatch.setattr(store.writer, "_build_elsewhere", lambda *given: store.build.build(*given[:4]))
    with duckdb.connect(str(finish(staged, tmp_path, data)), read_only=True) as connection:
        connection.execute(f"ATTACH '{only_index(workspace)}' AS truth (READ_ONLY)")
        tables = [
            row[0]
            for row in connection.execute(
                "SELECT table_name FROM duckdb_tables() WHERE database_name = 'truth'"
            ).fetchall()
        ]
        for name in tables:
            own, truth = (connection.execute(f"FROM {where}{name}").fetchall() for where in ("", "truth."))
            assert own == truth, name
        assert len(connection.execute("FROM by_feature").fetchall()) > 10 * 2048
