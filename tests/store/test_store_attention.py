"""What an index keeps of an SAE of attention outputs, against plain loops over the same data."""

from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest
from synthetic import CORPUS, LENGTH, Synthetic

from store import FeatureStore, IndexWriter, StoreError, index_id, indexes_folder, staging_folder
from store.check import check_indexes

SAE = "demo.blocks.2.attn.hook_z.topk-300-k8"
ID = index_id(SAE, CORPUS)
N_HEADS = 4


@pytest.fixture(scope="module")
def data() -> Synthetic:
    made = Synthetic(seed=2, n_contexts=60)
    share = np.random.default_rng(0).dirichlet(np.ones(N_HEADS), made.n_features).astype(np.float32)
    share[5] = 0  # a decoder row of zeros
    made.decoder = replace(made.decoder, head_share=share)
    return made


def staged(workspace: Path, data: Synthetic, contexts_per_block: int = 25) -> IndexWriter:
    writer = IndexWriter(staging_folder(workspace, ID), data.n_features, LENGTH, data.provenance)
    for block in data.blocks(contexts_per_block, writer.n_contexts):
        writer.add(block)
    return writer


def finish(writer: IndexWriter, workspace: Path, data: Synthetic) -> Path:
    return writer.finish(indexes_folder(workspace), ID, data.documents, data.vocabulary, data.decoder)


@pytest.fixture(scope="module")
def attention(tmp_path_factory: pytest.TempPathFactory, data: Synthetic) -> Path:
    """A workspace with an index of an SAE of attention outputs."""
    folder = tmp_path_factory.mktemp("attention")
    finish(staged(folder, data), folder, data)
    return folder


def test_heads_come_with_the_largest_share_first(attention: Path, data: Synthetic, store: FeatureStore):
    with FeatureStore.open(attention) as opened:
        for number in range(data.n_features):
            shares = data.decoder.head_share[number]
            expected = sorted(range(N_HEADS), key=lambda head: (-shares[head], head))
            assert opened.feature(None, number).heads() == [(head, shares[head]) for head in expected]
        assert opened.sql("SELECT count(*) AS n FROM head").rows() == [{"n": data.n_features * N_HEADS}]
    assert store.feature(None, 3).heads() == []


def test_shares_of_another_sae_are_refused(tmp_path: Path, data: Synthetic):
    writer = staged(tmp_path, data)
    wrong = replace(data.decoder, head_share=data.decoder.head_share[:100])
    with pytest.raises(StoreError, match="head_share has 100 rows for 300 features"):
        writer.finish(indexes_folder(tmp_path), ID, data.documents, data.vocabulary, wrong)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("UPDATE head SET share = 2 * share WHERE feature = 3", "do not add up to one"),
        ("DELETE FROM head WHERE feature = 4", "not every feature has its heads"),
    ],
)
def test_damage_is_found(attention: Path, tmp_path: Path, change: str, says: str):
    assert [lines for _, lines in check_indexes(attention)] == [[]]
    (path,) = indexes_folder(attention).glob("*.duckdb")
    indexes_folder(tmp_path).mkdir()
    copied = indexes_folder(tmp_path) / path.name
    copied.write_bytes(path.read_bytes())
    with duckdb.connect(str(copied)) as connection:
        connection.execute(change)
    ((_, problems),) = check_indexes(tmp_path)
    assert any(says in problem for problem in problems), problems
