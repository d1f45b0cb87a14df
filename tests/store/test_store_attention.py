"""What an index keeps of an SAE of attention outputs, against plain loops over the same data."""

from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import CORPUS, LENGTH, Synthetic

from store import FeatureStore, IndexWriter, StoreError, Unattributed, index_id, indexes_folder, staging_folder
from store.attribution import strongest, unattributed
from store.check import check_indexes

SAE = "demo.blocks.2.attn.hook_z.topk-300-k8"
ID = index_id(SAE, CORPUS)
N_HEADS, N_KEPT = 4, 3


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


def terms(context: int, feature: int, position: int) -> np.ndarray:
    """float32[heads, position + 1]: made-up terms of one example."""
    return np.random.default_rng([context, feature]).normal(size=(N_HEADS, position + 1)).astype(np.float32)


def attribute(writer: IndexWriter, some: Unattributed) -> None:
    places = zip(some.place.tolist(), some.feature.tolist(), strict=True)
    made = [terms(place // LENGTH, feature, place % LENGTH) for place, feature in places]
    writer.attribute(some, np.concatenate([m.sum(0) for m in made]), np.stack([m.sum(1) for m in made]))


def finish(writer: IndexWriter, workspace: Path, data: Synthetic) -> Path:
    return writer.finish(indexes_folder(workspace), ID, data.documents, data.vocabulary, data.decoder)


@pytest.fixture(scope="module")
def attention(tmp_path_factory: pytest.TempPathFactory, data: Synthetic) -> Path:
    """A workspace with an index of an SAE of attention outputs."""
    folder = tmp_path_factory.mktemp("attention")
    writer = staged(folder, data)
    for some in writer.unattributed(N_KEPT, 7):
        attribute(writer, some)
    finish(writer, folder, data)
    return folder


def test_heads_come_with_the_largest_share_first(attention: Path, data: Synthetic, store: FeatureStore):
    with FeatureStore.open(attention) as opened:
        for number in range(data.n_features):
            shares = data.decoder.head_share[number]
            expected = sorted(range(N_HEADS), key=lambda head: (-shares[head], head))
            assert opened.feature(None, number).heads() == [(head, shares[head]) for head in expected]
        assert opened.sql("SELECT count(*) AS n FROM head").rows() == [{"n": data.n_features * N_HEADS}]
    assert store.feature(None, 3).heads() == []


def test_attributions_belong_to_the_strongest_examples(attention: Path, data: Synthetic, store: FeatureStore):
    with FeatureStore.open(attention) as opened:
        for number in range(0, data.n_features, 3):
            feature = opened.feature(None, number)
            found, top = feature.attributions(), feature.top(N_KEPT)
            places = [(example.context, example.position) for example in top]
            assert [(a.example.context, a.example.position) for a in found] == places
            assert len(feature.attributions(1)) == min(len(top), 1)
            for one in found:
                made = terms(one.example.context, number, one.example.position)
                np.testing.assert_array_equal(one.sources, made.sum(0))
                np.testing.assert_array_equal(one.heads, made.sum(1))
                assert one.total == pytest.approx(float(made.sum()), abs=1e-4)
                assert one.before_window == pytest.approx(float(made[:, : one.example.start].sum()), abs=1e-4)
                by_size = sorted(range(made.shape[1]), key=lambda i: (-abs(one.sources[i]), i))[:5]
                text = opened.context(one.example.context).text
                assert one.strongest() == [(i, text[i], one.sources[i]) for i in by_size]
        shown = next(a for n in range(300) for a in opened.feature(None, n).attributions() if a.example.start)
        assert "before this text" in shown._repr_html_()
        assert repr(shown).startswith("<")
        assert " from</span>" in feature._repr_html_()
    assert store.feature(None, 3).attributions() == []


def test_a_killed_run_goes_on_and_gives_the_same_bytes(attention: Path, tmp_path: Path, data: Synthetic):
    """Left between two files, with one torn and one of other examples; other cuts of the codes change nothing."""
    writer = staged(tmp_path, data, contexts_per_block=16)
    pending = writer.unattributed(N_KEPT, 7)
    done = [next(pending) for _ in range(4)]
    for some in done:
        attribute(writer, some)
    done[1].path.write_bytes(done[1].path.read_bytes()[:100])
    done[2].path.write_bytes(done[3].path.read_bytes())
    done[0].path.with_suffix(".parquet.tmp").write_bytes(b"torn")
    writer.close()
    writer = staged(tmp_path, data, contexts_per_block=16)
    again = list(writer.unattributed(N_KEPT, 7))
    assert not {done[0].path, done[3].path} & {some.path for some in again}
    assert {done[1].path, done[2].path} <= {some.path for some in again}
    for some in again:
        attribute(writer, some)
    assert list(writer.unattributed(N_KEPT, 7)) == []
    path = finish(writer, tmp_path, data)
    assert path.read_bytes() == (indexes_folder(attention) / path.name).read_bytes()


def test_the_content_names_the_file(attention: Path, tmp_path: Path, data: Synthetic):
    writer = staged(tmp_path, data)
    for some in writer.unattributed(N_KEPT, 7):
        n = int((some.position + 1).sum())
        writer.attribute(some, np.ones(n, np.float32), np.ones((len(some.place), N_HEADS), np.float32))
    assert finish(writer, tmp_path, data).name != next(indexes_folder(attention).glob("*.duckdb")).name


@pytest.mark.parametrize(("damage", "says"), [("shape", "do not fit"), ("nan", "not finite")])
def test_wrong_attributions_are_refused(tmp_path: Path, data: Synthetic, damage: str, says: str):
    writer = staged(tmp_path, data)
    some = next(writer.unattributed(N_KEPT, 7))
    sources, heads = np.ones(int((some.position + 1).sum()), np.float32), np.ones((len(some.place), 4), np.float32)
    if damage == "nan":
        sources[3] = np.nan
    with pytest.raises(StoreError, match=says):
        writer.attribute(some, sources if damage == "nan" else sources[1:], heads)
    assert not some.path.exists()


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 5), cut=st.integers(1, 12), levels=st.integers(1, 6))
def test_the_strongest_by_a_plain_loop(tmp_path_factory, seed: int, n: int, cut: int, levels: int):
    """However the codes are cut into parts; few levels of value and repeated contexts make ties and equal texts."""
    rng = np.random.default_rng(seed)
    made = Synthetic(seed=1, n_contexts=12, n_features=20)
    places, features, _ = made.codes
    values = rng.integers(1, levels + 1, len(places)).astype(np.float32)
    made.codes = places, features, values
    writer = IndexWriter(tmp_path_factory.mktemp("cut") / "staging", 20, LENGTH, {})
    whole = made.block(0, 12)
    repeated = np.where(rng.random((12, 1)) < 0.5, whole.tokens[:1], whole.tokens)
    for first in range(0, 12, cut):
        block = made.block(first, min(first + cut, 12))
        writer.add(replace(block, tokens=repeated[first : first + cut]))
    found = strongest(writer._parts, LENGTH, 20, n)
    for feature in range(20):
        own = np.flatnonzero(features == feature)
        kept: list[int] = []
        for i in sorted(own, key=lambda i: (-values[i], places[i])):
            if places[i] // LENGTH not in {places[k] // LENGTH for k in kept}:
                kept.append(i)
        texts, best = set(), []
        for i in kept:
            context, position = divmod(int(places[i]), LENGTH)
            text = (*repeated[context, max(position - 8, 0) : position + 5].tolist(), min(position, 8))
            if text not in texts:
                best.append(int(places[i]))
            texts.add(text)
        assert found.place[found.feature == feature].tolist() == best[:n]
    runs = list(unattributed(writer._staging, writer._parts, LENGTH, 20, n, 5))
    assert sorted(found.place.tolist()) == [place for run in runs for place in run.place.tolist()]
    for run in runs:
        assert run.tokens[run.row].tolist() == repeated[run.place // LENGTH].tolist()


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
        ("UPDATE attribution SET place = place + 1 WHERE feature = 3", "an attribution is of no strongest example"),
        ("DELETE FROM attribution WHERE feature = 3", "a strongest example has no attribution"),
        ("UPDATE attribution SET sources = sources[2:] WHERE feature = 3", "do not add up alike"),
        ("UPDATE attribution SET heads = [h + 1 for h in heads] WHERE feature = 3", "do not add up alike"),
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
