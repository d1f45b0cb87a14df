"""Co-activation, negatives, random examples, flags and documents, against brute force on dense arrays."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from synthetic import DEAD, DENSE, LENGTH, Synthetic
from test_store_statistics import dense_activations, gather

from store import FeatureStore, StoreError, statistics
from store.coactivation import MIN_TOGETHER, PARTNERS, by_token, partner_table
from store.counting import by_column, within_rows
from store.examples import RANDOM, sample_random
from store.negatives import NEGATIVES, NEIGHBOURS
from store.sorting import SortedCodes, open_codes, runs, sort_codes
from store.staging import Part

CONTEXT = 4


@st.composite
def sparse_codes(draw: st.DrawFn) -> np.ndarray:
    """float16[features, places]; values and counts that often tie."""
    shape = (draw(st.integers(1, 24)), 8 * CONTEXT)
    some = st.sampled_from([0.0, 0.0, 0.0, 6e-8, 0.5, 0.5, 1.0, 3.0, 65504.0])
    return draw(hnp.arrays(np.float16, shape, elements=some))


def sorted_codes(dense: np.ndarray, folder: Path, memory: int = 1 << 20, parts: int = 2) -> SortedCodes:
    """The codes staged as two parts, sorted."""
    made: list[Part] = []
    for start in range(0, 8, 8 // parts):
        part = Part(folder, start, start + 8 // parts)
        places, features = np.nonzero(dense.T[part.start * CONTEXT : part.stop * CONTEXT])
        places += part.start * CONTEXT
        half = dense[features, places].view(np.int16)
        columns = {"place": places.astype(np.int64), "feature": features.astype(np.int32), "half": half}
        pq.write_table(pa.table(columns), part.codes)
        made.append(part)
    sort_codes(made, dense.shape[1], len(dense), memory, folder)
    return open_codes(folder)


@settings(deadline=None)
@given(sparse_codes(), st.sampled_from([1, 48 * 7, 1 << 20]))
def test_codes_are_sorted_both_ways_in_as_many_passes_as_memory_asks_for(dense: np.ndarray, memory: int):
    with TemporaryDirectory() as name:
        codes = sorted_codes(dense, Path(name), memory)
        features, places = np.nonzero(dense)
        assert codes.places.tolist() == places.tolist()
        assert codes.halves.tolist() == dense[features, places].view(np.int16).tolist()
        assert np.diff(codes.bounds).tolist() == (dense > 0).sum(1).tolist()
        token, feature = np.nonzero(dense.T)
        assert codes.token_features.tolist() == feature.tolist()
        assert codes.token_values.tolist() == dense[feature, token].tolist()
        assert codes.token_halves.tolist() == dense[feature, token].view(np.int16).tolist()
        assert np.diff(codes.token_bounds).tolist() == (dense > 0).sum(0).tolist()
        assert codes.sums.tolist() == dense.astype(np.float64).sum(1).tolist()
        assert codes.squares == pytest.approx((dense.astype(np.float64) ** 2).sum(1), rel=1e-12)


def by_brute_force(dense: np.ndarray, feature: int, n_tokens: int) -> dict[str, list[tuple[float, int, int]]]:
    """measure: (value, -partner, together) of every partner, strongest first."""
    values = dense.astype(np.float64)
    active = values > 0
    found: dict[str, list[tuple[float, int, int]]] = {"jaccard": [], "pmi": [], "pearson": []}
    for other in range(len(dense)):
        both = int((active[feature] & active[other]).sum())
        if other == feature or both == 0:
            continue
        a, b = int(active[feature].sum()), int(active[other].sum())
        found["jaccard"].append((both / (a + b - both), -other, both))
        if both >= MIN_TOGETHER:
            found["pmi"].append((np.log2(both * n_tokens / a / b), -other, both))
        x, y = values[feature], values[other]
        sd = np.sqrt((n_tokens * (x * x).sum() - x.sum() ** 2) * (n_tokens * (y * y).sum() - y.sum() ** 2))
        if sd > 0:
            found["pearson"].append(((n_tokens * (x * y).sum() - x.sum() * y.sum()) / sd, -other, both))
    return {measure: sorted(rows, reverse=True) for measure, rows in found.items()}


def check_partners(found: list[tuple[int, int, float]], expected: list[tuple[float, int, int]], tolerance: float):
    """(partner, together, value) against brute force; partners whose values differ by rounding may change places."""
    assert len(found) == min(len(expected), PARTNERS)
    assert [value for *_, value in found] == pytest.approx([row[0] for row in expected[: len(found)]], abs=tolerance)
    known = {-partner: (value, both) for value, partner, both in expected}
    for partner, both, value in found:
        assert both == known[partner][1]
        assert value == pytest.approx(known[partner][0], abs=tolerance)
    assert len({partner for partner, *_ in found}) == len(found)


@settings(max_examples=60, deadline=None)
@given(sparse_codes(), st.integers(0, 5))
def test_partners_are_those_of_brute_force(dense: np.ndarray, special: int):
    n_tokens = dense.shape[1] + special  # tokens without any code count as well
    with TemporaryDirectory() as name:
        codes = sorted_codes(dense, Path(name))
        rows = partner_table(codes, by_token(codes), range(len(dense)), n_tokens).to_pylist()
        for feature in range(len(dense)):
            for measure, expected in by_brute_force(dense, feature, n_tokens).items():
                own = [row for row in rows if row["feature"] == feature and row["measure"] == measure]
                assert [row["rank"] for row in own] == list(range(len(own)))
                found = [(row["partner"], row["together"], row["value"]) for row in own]
                check_partners(found, expected, 2e-6)
                if measure == "jaccard":
                    assert [partner for partner, *_ in found] == [-row[1] for row in expected[: len(found)]]


def test_partners_of_a_whole_index(store: FeatureStore, data: Synthetic):
    dense = dense_activations(data)
    n_tokens = store.index().meta["n_tokens"]
    for feature in (DENSE, 1, 7, 40, 250, *DEAD):
        for measure, expected in by_brute_force(dense, feature, n_tokens).items():
            found = store.feature(None, feature).coactive(measure, 99)
            check_partners([(f.feature, f.together, f.value) for f in found], expected, 1e-5)
    assert store.feature(None, DEAD[0]).coactive() == []
    with pytest.raises(StoreError, match="choose one of jaccard, pmi, pearson"):
        store.feature(None, 1).coactive("cosine")


def test_negatives_are_strong_in_a_neighbour_and_silent_here(store: FeatureStore, data: Synthetic):
    dense = dense_activations(data)
    contexts = dense.reshape(len(dense), -1, LENGTH)
    n_found = 0
    for number in range(0, data.n_features, 9):
        feature = store.feature(None, number)
        near = [n.feature for n in feature.neighbours()][:NEIGHBOURS]
        near += [p.feature for p in feature.coactive("jaccard", NEIGHBOURS)]
        offered = {(n, e.context, e.position) for n in near for e in store.feature(None, n).top(32)}
        silent = {entry for entry in offered if not contexts[number, entry[1]].any()}
        found = feature.negatives()
        n_found += len(found)
        assert {(f.neighbour, f.example.context, f.example.position) for f in found} <= silent
        assert len(found) == len({f.example.context for f in found})
        assert len(found) == min(NEGATIVES, len({context for _, context, _ in silent}))
        for f in found:
            assert f.example.value == dense[f.neighbour, f.example.context * LENGTH + f.example.position]
            assert not f.example.activations.any()
            assert not f.example.whole().activations.any()
    assert n_found > 100


def test_random_examples_are_active_places_and_all_of_them_if_few(store: FeatureStore, data: Synthetic):
    dense = dense_activations(data)
    for number in range(0, data.n_features, 11):
        found = store.feature(None, number).random()
        places = [example.context * LENGTH + example.position for example in found]
        assert [example.value for example in found] == dense[number, places].tolist()
        assert all(example.value > 0 for example in found)
        assert len(set(places)) == len(places) == min(RANDOM, np.count_nonzero(dense[number]))


@pytest.mark.parametrize("n_active", [RANDOM + 1, 40, 1000])
def test_random_examples_are_uniform_over_active_tokens(n_active: int):
    n_features = 3000
    dense = np.ones((n_features, n_active), np.float16)
    codes = gather(dense, first=17)
    places = codes.places[sample_random(codes)]
    expected = n_features * min(RANDOM, n_active) / n_active
    counts = np.bincount(places, minlength=n_active)
    chi = ((counts - expected) ** 2 / expected).sum() / (1 - RANDOM / n_active) / n_active
    assert chi == pytest.approx(1, abs=6 * np.sqrt(2 / n_active))


def test_flags(store: FeatureStore, data: Synthetic):
    dense = dense_activations(data)
    n_tokens = store.index().meta["n_tokens"]
    contexts = (dense > 0).reshape(len(dense), -1, LENGTH)
    ordinary = np.array([piece is not None for *_, piece, _ in data._stream]).reshape(-1, LENGTH)
    for row in store.features().rows():
        own = contexts[row["feature"]]
        n = own.sum()
        first = sum(own[i, ordinary[i].argmax()] for i in range(len(own)))
        assert row["dead"] == (n == 0)
        assert row["dense"] == (n / n_tokens > 0.1)
        assert row["duplicate"] == bool(data.decoder.neighbour_cosine[row["feature"]].max() > 0.9)
        assert row["position_locked"] == bool(n >= 20 and own.sum(0).max() >= 0.5 * n)
        assert row["bos_only"] == bool(n and first >= 0.95 * n)
    assert store.features().filter("dense AND NOT dead").count() >= 1


@settings(deadline=None)
@given(sparse_codes())
def test_positions(dense: np.ndarray):
    codes = gather(dense)
    chosen = codes.places % 3 == 0
    for i, row in enumerate(dense.reshape(len(dense), -1, CONTEXT) > 0):
        n = max(row.sum(), 1)
        assert statistics.share_at_commonest_position(codes, CONTEXT)[i] == row.sum(0).max() / n
        assert statistics.share_of(codes, chosen)[i] == row.ravel()[::3].sum() / n


def test_documents_of_a_feature(store: FeatureStore, data: Synthetic):
    dense = dense_activations(data).astype(np.float64)
    of_place = np.array([document for document, *_ in data._stream])
    for number in (DENSE, 3, 77, *DEAD[:1]):
        found = {row.document: row[1:] for row in store.feature(None, number).documents()}
        expected = {}
        for document in np.unique(of_place[dense[number] > 0]):
            own = dense[number, of_place == document]
            expected[data.documents[document][0]] = (int((own > 0).sum()), own.sum(), own.max())
        assert found == expected
        sums = [row.total for row in store.feature(None, number).documents()]
        assert sums == sorted(sums, reverse=True)


@given(st.lists(st.lists(st.integers(0, 5), max_size=6), min_size=1, max_size=6))
def test_counting_sorts_are_stable(rows: list[list[int]]):
    bounds = np.cumsum([0, *map(len, rows)])
    columns = np.array([column for row in rows for column in row], np.int32)
    entries = [
        (column, i, number) for i, row in enumerate(rows) for column, number in zip(row, range(99), strict=False)
    ]
    data = np.array([number for *_, number in entries], np.int16)
    ends, row, moved = by_column(bounds, columns, 6, data)
    assert list(zip(row.tolist(), moved.tolist(), strict=True)) == [(i, n) for _, i, n in sorted(entries)]
    assert np.diff(ends).tolist() == np.bincount(columns, minlength=6).tolist()
    order = within_rows(bounds, columns, 6)
    assert order.tolist() == sorted(
        range(len(columns)), key=lambda i: (np.searchsorted(bounds, i, "right"), columns[i])
    )


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.integers(1, 12), st.integers(1, 5))
def test_runs_cover_every_feature_once(counts: list[int], n_codes: int, n_features: int):
    bounds = np.cumsum([0, *counts])
    found = list(runs(bounds, n_codes, n_features))
    assert [feature for first, n in found for feature in range(first, first + n)] == list(range(len(counts)))
    assert all(n == 1 or (n <= n_features and bounds[first + n] - bounds[first] <= n_codes) for first, n in found)
