"""Two SAEs compared, against the definitions written out as loops."""

import shutil
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from synthetic import CORPUS, LENGTH, SAE, Synthetic

from store import FeatureStore, IndexWriter, StoreError, counterparts, index_id, indexes_folder, staging_folder
from store import weights as rows_of
from store.counterparts import Codes, compared

OTHER = "demo.blocks.2.hook_resid_post.topk-200-k8"
N_OTHER = 200


def by_hand(rows_a, rows_b, a: Codes, b: Codes, threshold: float):
    """(status, nearest, cosine, partner, jaccard, both) of every feature of a, then of b; and of any pair."""
    active = [np.zeros((len(c.counts), 1 + max([0, *a.places, *b.places])), np.float32) for c in (a, b)]
    for matrix, c in zip(active, (a, b), strict=True):
        matrix[c.features, c.places] = 1
    together = (active[0] @ active[1].T).astype(int)
    cosine = rows_a @ rows_b.T
    alive = [np.flatnonzero(matrix.any(axis=1)).tolist() for matrix in active]

    def pair(i: int, j: int) -> tuple[float, float, int]:
        either = int(active[0][i].sum() + active[1][j].sum()) - together[i, j]
        return float(cosine[i, j]), together[i, j] / (either or 1), int(together[i, j])

    nearest_a = {i: max(alive[1], key=lambda j: (cosine[i, j], -j), default=None) for i in alive[0]}
    nearest_b = {j: max(alive[0], key=lambda i: (cosine[i, j], -i), default=None) for j in alive[1]}

    def side(n, nearest, back, at, words):
        out = []
        for f in range(n):
            if f not in nearest:
                out.append(("dead", None, None, None, None, None))
                continue
            near = nearest[f]
            children = [g for g, parent in back.items() if parent == f and at(f, g)[0] >= threshold]
            if near is None or at(f, near)[0] < threshold:
                status = words[0]
            elif len(children) >= 2:
                status = words[1]
            else:
                status = "kept" if back[near] == f else words[2]
            partner = max(back, key=lambda g: (at(f, g)[1], -g), default=None)
            used = partner is not None and at(f, partner)[2] > 0
            measures = (partner, *at(f, partner)[1:]) if used else (None, None, None)
            out.append((status, near, None if near is None else at(f, near)[0], *measures))
        return out

    of_a = side(len(rows_a), nearest_a, nearest_b, pair, ("vanished", "split", "merged"))
    of_b = side(len(rows_b), nearest_b, nearest_a, lambda j, i: pair(i, j), ("appeared", "merged", "split"))
    return of_a, of_b, pair


NAMES = ("status", "nearest", "cosine", "partner", "jaccard", "both")
DIRECTIONS = np.array(
    [
        [1, 0, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 1, 0],
        [-1, 0, 0, 0],
        [0.5, 0.5, 0.5, 0.5],
        [0.5, -0.5, 0.5, 0.5],
        [0, 0, 0, 0],
    ],
    np.float32,
)
"""Exact in floating point, so that ties are ties."""


@st.composite
def saes(draw: st.DrawFn, n_places: int) -> tuple[np.ndarray, Codes]:
    n = draw(st.integers(1, 9))
    rows = DIRECTIONS[draw(st.lists(st.integers(0, len(DIRECTIONS) - 1), min_size=n, max_size=n))]
    codes = sorted(draw(st.sets(st.tuples(st.integers(0, n - 1), st.integers(0, n_places - 1)), max_size=40)))
    features = np.array([f for f, _ in codes], np.int64)
    places = np.array([p for _, p in codes], np.int64)
    return rows, Codes(features, places, np.bincount(features, minlength=n))


@settings(deadline=None, max_examples=150)
@given(
    saes(12),
    saes(12),
    st.sampled_from([0.0, 0.5, 0.7, 1.0]),
    st.sampled_from([1, 3, 1 << 22]),
)
def test_any_two_saes(a, b, threshold: float, cells: int):
    """However the work is cut into blocks."""
    with patch.object(counterparts, "_CELLS_AT_ONCE", cells):
        of_a, of_b, pairs = compared(a[0], b[0], a[1], b[1], 12, threshold)
    expected_a, expected_b, pair = by_hand(a[0], b[0], a[1], b[1], threshold)
    for found, expected in ((of_a, expected_a), (of_b, expected_b)):
        assert [tuple(row[name] for name in NAMES) for row in found.to_pylist()] == expected
    rows = pairs.to_pylist()
    keys = [(row["a"], row["b"]) for row in rows]
    assert len(set(keys)) == len(keys)
    assert [(row["cosine"], row["jaccard"], row["both"]) for row in rows] == [pair(*key) for key in keys]
    assert keys == [(r["a"], r["b"]) for r in sorted(rows, key=lambda r: (r["a"], -r["cosine"], r["b"]))]
    wanted = {(i, row[1]) for i, row in enumerate(expected_a)} | {(i, row[3]) for i, row in enumerate(expected_a)}
    wanted |= {(row[1], j) for j, row in enumerate(expected_b)} | {(row[3], j) for j, row in enumerate(expected_b)}
    assert {key for key in wanted if None not in key} <= set(keys)


@pytest.mark.parametrize("measure", [0, 1])
def test_the_best_five_of_each_are_kept(measure: int):
    rng = np.random.default_rng(measure)
    rows = [np.linalg.qr(rng.normal(size=(40, 40)))[0][:, :16].astype(np.float32) for _ in range(2)]
    dense = [rng.random((40, 300)) < rng.uniform(0.1, 1, (40, 1)) for _ in range(2)]
    codes = [Codes(*(x.astype(np.int64) for x in np.nonzero(d)), d.sum(axis=1)) for d in dense]
    of_a, of_b, pairs = compared(rows[0], rows[1], codes[0], codes[1], 300, 0.2)
    both = dense[0].astype(int) @ dense[1].T.astype(int)
    jaccard = both / (dense[0].sum(1)[:, None] + dense[1].sum(1) - both)
    expected = (rows[0] @ rows[1].T, jaccard)[measure]
    kept = set(zip(pairs["a"].to_pylist(), pairs["b"].to_pylist(), strict=True))
    for i in range(40):
        assert {(i, int(j)) for j in np.argsort(-expected[i])[:5]} <= kept
    np.testing.assert_allclose(of_a["cosine"].to_numpy(), (rows[0] @ rows[1].T).max(axis=1), atol=1e-6)
    np.testing.assert_allclose(of_b["jaccard"].to_numpy(), jaccard.max(axis=0), atol=1e-12)


@pytest.fixture(scope="module")
def two(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[np.ndarray], list[Synthetic]]:
    """A workspace with two SAEs on one corpus, and their weights."""
    folder = tmp_path_factory.mktemp("two")
    shutil.copytree(workspace, folder, dirs_exist_ok=True)
    rng = np.random.default_rng(5)
    data = [Synthetic(), Synthetic()]
    places, features, values = data[1].codes
    kept = (features < N_OTHER) & (rng.random(len(places)) < 0.8)
    data[1].codes = (places[kept], features[kept], values[kept])
    data[1].decoder = synthetic._decoder(rng, N_OTHER, len(data[1].vocabulary))
    data[1].provenance = {**data[1].provenance, "sae": {"id": OTHER}}
    identifier = index_id(OTHER, CORPUS)
    writer = IndexWriter(staging_folder(folder, identifier), N_OTHER, LENGTH, data[1].provenance)
    for block in data[1].blocks():
        writer.add(block)
    writer.finish(indexes_folder(folder), identifier, data[1].documents, data[1].vocabulary, data[1].decoder)
    weights = [rng.normal(size=(300, 32)).astype(np.float32)]
    weights.append(3 * weights[0][:N_OTHER] + rng.normal(size=(N_OTHER, 32)).astype(np.float32) * 2)
    for sae, rows in zip((SAE, OTHER), weights, strict=True):
        (folder / "saes" / sae).mkdir(parents=True)
        save_file({"W_dec": rows, "b_dec": np.zeros(32, np.float32)}, folder / "saes" / sae / "sae.safetensors")
    return folder, weights, data


def test_two_indexes_of_one_corpus(two):
    folder, weights, data = two
    rows = [w / np.linalg.norm(w, axis=1, keepdims=True) for w in weights]
    codes = []
    for one, n in zip(data, (300, N_OTHER), strict=True):
        places, features, values = one.codes
        order = np.lexsort((places, features))
        order = order[values[order].astype(np.float16) > 0]
        codes.append(Codes(features[order].astype(np.int64), places[order], np.bincount(features[order], minlength=n)))
    expected = by_hand(*rows, *codes, 0.7)
    with FeatureStore.open(folder) as store:
        store.label(SAE, 0, "nearly everything")
        found = store.compare(SAE, OTHER)
        for side, wanted in ((found.a, expected[0]), (found.b, expected[1])):
            table = side.df()
            assert table.status.tolist() == [row[0] for row in wanted]
            assert table.nearest.fillna(-1).astype(int).tolist() == [-1 if r[1] is None else r[1] for r in wanted]
            assert table.both.fillna(-1).astype(int).tolist() == [-1 if r[5] is None else r[5] for r in wanted]
            np.testing.assert_allclose(
                table.cosine.fillna(-9), [-9 if r[2] is None else r[2] for r in wanted], atol=1e-5
            )
        counts = found.summary()
        assert sum(counts["a"].values()) == 300
        assert sum(counts["b"].values()) == N_OTHER
        assert {"kept", "vanished", "dead"} <= counts["a"].keys()
        for name in ("kept", "split", "merged", "vanished"):
            assert getattr(found, name).count() == counts["a"].get(name, 0)
        assert found.appeared.count() == counts["b"].get("appeared", 0)
        assert found.kept.order("feature").limit(1).rows()[0]["label"] == "nearly everything"
        children = found.children(0).df()
        assert ((children.nearest == 0) & (children.cosine >= 0.7)).all()
        assert found.pairs.filter("a = 0").count() >= 5
        assert "kept" in repr(found)
        same = store.compare(SAE, SAE)
        assert set(same.summary()["a"]) == {"kept", "dead"}
        own = same.kept.filter("nearest = feature AND partner = feature AND jaccard = 1 AND cosine > .999")
        assert own.count() == same.kept.count()


@pytest.mark.parametrize("at_once", [40, 1 << 23])
def test_neighbours_in_another_sae(two, at_once: int):
    """However many rows are read at once."""
    folder, weights, _ = two
    with FeatureStore.open(folder) as store, patch.object(rows_of, "_NUMBERS_AT_ONCE", at_once):
        for number in range(0, 300, 7):
            row = weights[0][number].astype(np.float64)
            cosine = weights[1] @ row / np.linalg.norm(weights[1], axis=1) / np.linalg.norm(row)
            found = store.feature(SAE, number).neighbours(sae=OTHER, n=20)
            assert [near.feature for near in found] == np.argsort(-cosine, kind="stable")[:20].tolist()
            np.testing.assert_allclose([near.cosine for near in found], np.sort(cosine)[::-1][:20], atol=1e-6)
        one = store.feature(SAE, 3)
        assert len(one.neighbours(sae=OTHER)) == 12
        assert len(one.neighbours(sae=OTHER, n=999)) == N_OTHER
        assert one.neighbours(sae=SAE) == one.neighbours()
        assert one.neighbours(n=2) == one.neighbours()[:2]


def test_equal_rows_of_another_sae_come_by_number(two, tmp_path: Path):
    shutil.copytree(two[0], tmp_path, dirs_exist_ok=True)
    rows = np.zeros((6, 32), np.float32)
    rows[[1, 2, 4]] = 2 * two[1][0][5]
    folder = tmp_path / "saes" / "unindexed.sae"
    folder.mkdir()
    save_file({"W_dec": rows}, folder / "sae.safetensors")
    with FeatureStore.open(tmp_path) as store:
        found = store.feature(SAE, 5).neighbours(sae="unindexed.sae")
        assert [near.feature for near in found] == [1, 2, 4, 0, 3, 5]
        assert [near.cosine for near in found] == pytest.approx([1, 1, 1, 0, 0, 0], abs=1e-6)


def test_what_has_no_neighbours_is_one_line(two, tmp_path: Path):
    shutil.copytree(two[0], tmp_path, dirs_exist_ok=True)
    path = tmp_path / "saes" / OTHER / "sae.safetensors"
    with FeatureStore.open(tmp_path) as store:
        one = store.feature(SAE, 250)
        for sae, says in [("nope", "there is no .*nope"), ("../up", "up")]:
            with pytest.raises(StoreError, match=says) as raised:
                one.neighbours(sae=sae)
            assert "\n" not in str(raised.value)
        save_file({"W_dec": two[1][1][:, :16].copy()}, path)
        with pytest.raises(StoreError, match="rows of width 16, this feature one of width 32"):
            one.neighbours(sae=OTHER)
        save_file({"W_dec": np.zeros(7, np.float32)}, path)
        with pytest.raises(StoreError, match="1 dimensions instead of 2"):
            one.neighbours(sae=OTHER)
        path.write_bytes(b"")
        with pytest.raises(StoreError, match=r"cannot read W_dec of .*; copy or train the SAE again"):
            one.neighbours(sae=OTHER)
        save_file({"W_dec": two[1][0][:200]}, tmp_path / "saes" / SAE / "sae.safetensors")
        with pytest.raises(StoreError, match=f"has 200 features, its index more; run `saebench index --sae {SAE}`"):
            one.neighbours(sae=OTHER)


def test_what_cannot_be_compared_is_one_line(two, tmp_path: Path):
    folder, weights, _ = two
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "saes" / OTHER / "sae.safetensors"
    with FeatureStore.open(tmp_path) as store:
        with pytest.raises(StoreError, match="no index of 'nope'"):
            store.compare(SAE, "nope")
        whole = path.read_bytes()
        for damage, message in [
            (whole[: len(whole) // 2], "cannot read W_dec of .*; copy or train the SAE again"),
            (b"", "cannot read W_dec"),
            (None, "there is no .*; comparing two SAEs needs the weights"),
        ]:
            path.unlink(missing_ok=True)
            if damage is not None:
                path.write_bytes(damage)
            with pytest.raises(StoreError, match=message) as raised:
                store.compare(SAE, OTHER)
            assert "\n" not in str(raised.value)
        for tensors, message in [
            ({"W_enc": weights[1]}, "W_dec"),
            ({"W_dec": weights[1][:, :16].copy()}, "inputs of width 32 and 16"),
            ({"W_dec": weights[1][:100]}, "has 100 features, its index 200"),
        ]:
            save_file(tensors, path)
            with pytest.raises(StoreError, match=message):
                store.compare(SAE, OTHER)


def test_other_text_is_refused(two, tmp_path: Path):
    shutil.copytree(two[0], tmp_path, dirs_exist_ok=True)
    synthetic.build(tmp_path, seed=3, sae="third.sae")
    with FeatureStore.open(tmp_path) as store, pytest.raises(StoreError, match="made from different text"):
        store.compare(SAE, "third.sae")
