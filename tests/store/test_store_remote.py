"""Parts that come together through a folder or an fsspec URL give the file that one process makes in one place."""

from pathlib import Path

import fsspec
import pytest
import synthetic
from synthetic import LENGTH, Synthetic

from store import IndexWriter, StoreError, index_id, indexes_folder, stage_block, staging_folder

ID = index_id(synthetic.SAE, synthetic.CORPUS)
WIDTH = 40


def writer_at(workspace: Path, data: Synthetic, parts: str | None = None, **changed: object) -> IndexWriter:
    return IndexWriter(staging_folder(workspace, ID), data.n_features, LENGTH, {**data.provenance, **changed}, parts)


def finish(writer: IndexWriter, workspace: Path, data: Synthetic) -> Path:
    return writer.finish(indexes_folder(workspace), ID, data.documents, data.vocabulary, data.decoder)


@pytest.fixture(params=["memory", "folder", "file"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    urls = {"memory": f"memory://{tmp_path.name}/parts", "folder": f"{tmp_path}/shared", "file": f"file://{tmp_path}/s"}
    return urls[request.param]


def test_parts_of_two_machines_give_the_file_of_one(workspace: Path, data: Synthetic, tmp_path: Path, place: str):
    """Staged from the last to the first, by turns here and on a machine that shares nothing but the place."""
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    writer = writer_at(here, data, place)
    blocks = list(data.blocks(WIDTH))
    for number, block in reversed(list(enumerate(blocks))):
        if number % 2:
            stage_block(staging_folder(elsewhere, ID), data.n_features, LENGTH, block, number * WIDTH, place)
        else:
            writer.add(block, number * WIDTH)
    assert not elsewhere.exists()
    assert writer.staged == {number * WIDTH for number in range(len(blocks))}
    assert writer.n_contexts == WIDTH
    writer.collect()
    path = finish(writer, here, data)
    (truth,) = indexes_folder(workspace).glob("*.duckdb")
    assert path.name == truth.name
    assert path.read_bytes() == truth.read_bytes()
    files, root = fsspec.core.url_to_fs(place)
    assert not files.exists(root) or not files.find(root)


def test_going_on_where_another_machine_stopped(workspace: Path, data: Synthetic, tmp_path: Path, place: str):
    blocks = list(data.blocks(WIDTH))
    lost = writer_at(tmp_path / "lost", data, place)
    for number in (0, 2, 3):
        lost.add(blocks[number], number * WIDTH)
    lost.close()
    writer = writer_at(tmp_path / "new", data, place)
    assert writer.staged == {0, 2 * WIDTH, 3 * WIDTH}
    for number, block in enumerate(blocks):
        if number * WIDTH not in writer.staged:
            writer.add(block, number * WIDTH)
    writer.collect()
    path = finish(writer, tmp_path / "new", data)
    assert path.name == next(indexes_folder(workspace).glob("*.duckdb")).name


def test_half_a_copy_does_not_count(data: Synthetic, tmp_path: Path):
    place = f"{tmp_path}/shared"
    writer = writer_at(tmp_path, data, place)
    writer.add(next(data.blocks(WIDTH)))
    (contexts,) = (tmp_path / "shared" / ID).glob("contexts-*")
    contexts.rename(contexts.with_name(contexts.name + ".tmp"))
    writer.close()
    other = writer_at(tmp_path / "other", data, place)
    assert other.staged == set()


def test_parts_of_something_else_are_refused(data: Synthetic, tmp_path: Path, place: str):
    writer_at(tmp_path, data, place).close()
    with pytest.raises(StoreError, match=r"holds parts of something else \(different provenance.sae\).*index.parts"):
        writer_at(tmp_path / "other", data, place, sae="another")


def test_a_part_that_nobody_made_is_named(data: Synthetic, tmp_path: Path):
    writer = writer_at(tmp_path, data)
    blocks = list(data.blocks(WIDTH))
    writer.add(blocks[0], 0)
    stage_block(staging_folder(tmp_path, ID), data.n_features, LENGTH, blocks[2], 2 * WIDTH)
    writer.collect()
    with pytest.raises(StoreError, match=rf"contexts from {WIDTH} on are missing in .*; processes on several machines"):
        finish(writer, tmp_path, data)
    writer.add(blocks[1])  # what is there is kept
    assert writer.n_contexts == 3 * WIDTH


def test_the_same_contexts_twice_are_refused(data: Synthetic, tmp_path: Path):
    writer = writer_at(tmp_path, data)
    for size in (WIDTH, WIDTH + 1):
        stage_block(staging_folder(tmp_path, ID), data.n_features, LENGTH, next(data.blocks(size)), 0)
    with pytest.raises(StoreError, match="hold the same contexts; delete the folder"):
        writer.collect()


@pytest.mark.parametrize("place", ["s4://bucket/parts", "/proc/parts"])
def test_a_place_that_cannot_be_used_is_one_line(data: Synthetic, tmp_path: Path, place: str):
    with pytest.raises(StoreError, match=f"cannot (open|write) {place}") as error:
        writer_at(tmp_path, data, place)
    assert "\n" not in str(error.value)
    writer_at(tmp_path, data).close()  # the lock was given back
