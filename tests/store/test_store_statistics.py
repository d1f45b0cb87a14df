"""Statistics against plain loops over dense arrays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from synthetic import END, LENGTH, Synthetic

from store import FeatureStore, statistics
from store.halfs import to_bits, to_float

N_PLACES = 40


@st.composite
def dense_codes(draw: st.DrawFn) -> np.ndarray:
    """float16[features, places]; mostly zeros, values that often tie."""
    n = draw(st.integers(1, 6))
    some = st.sampled_from([0.0] * 4 + [6e-8, 0.25, 0.5, 0.75, 1.0, 3.0, 1000.0, 65504.0])
    return draw(hnp.arrays(np.float16, (n, N_PLACES), elements=some | st.floats(0, 100, width=16)))


def gather(dense: np.ndarray, first: int = 5) -> statistics.Codes:
    features, places = np.nonzero(dense)
    halves = dense[features, places].view(np.int16)
    bounds = np.searchsorted(features, np.arange(len(dense) + 1))
    return statistics.gather(first, bounds, places, halves)


@given(dense_codes())
def test_counts_means_and_maxima(dense: np.ndarray):
    codes = gather(dense)
    assert codes.n_active.tolist() == [int((row > 0).sum()) for row in dense]
    assert statistics.largest(codes).tolist() == [float(row.max()) for row in dense]
    for mean, row in zip(statistics.means(codes), dense.astype(np.float64), strict=True):
        assert mean == (row[row > 0].mean() if row.any() else 0)


@given(dense_codes())
def test_quantiles_are_order_statistics(dense: np.ndarray):
    values, offsets = statistics.quantiles(gather(dense))
    for i, row in enumerate(dense):
        active = np.sort(row[row > 0]).astype(np.float32)
        exact = (
            [np.quantile(active, p / 1000, method="inverted_cdf") for p in statistics.QUANTILES] if len(active) else []
        )
        assert values[offsets[i] : offsets[i + 1]].tolist() == exact


@given(dense_codes())
def test_histogram_is_numpys_on_the_stored_edges(dense: np.ndarray):
    edges, counts = statistics.histograms(gather(dense))
    for i, row in enumerate(dense.astype(np.float32)):
        active = row[row > 0]
        if len(active) == 0:
            assert not counts[i].any()
        elif (np.diff(edges[i]) > 0).all():
            assert counts[i].tolist() == np.histogram(active, edges[i])[0].tolist()
        assert counts[i].sum() == len(active)


@given(dense_codes(), hnp.arrays(np.int32, N_PLACES, elements=st.integers(0, 5)))
def test_documents_and_top_tokens(dense: np.ndarray, groups: np.ndarray):
    codes = gather(dense)
    own = groups[codes.places]
    token, share = statistics.top_tokens(codes, own)
    distinct = statistics.distinct(codes, own)
    for i, row in enumerate(dense.astype(np.float64)):
        assert distinct[i] == len(set(groups[row > 0].tolist()))
        mass = np.bincount(groups, row, 6)
        assert token[i] == (mass.argmax() if row.any() else -1)
        assert share[i] == pytest.approx(mass.max() / row.sum() if row.any() else 0)


@given(st.integers(1, 31743))
def test_halves_are_exact(bits: int):
    value = to_float(np.array([bits], np.int16))
    assert to_bits(value).tolist() == [bits]


def test_sql_and_numpy_agree_on_every_half(store: FeatureStore):
    bits = np.arange(1, 31744)
    found = store.sql(f"SELECT f16(b::SMALLINT) AS v FROM range(1, {len(bits) + 1}) AS r(b) ORDER BY b").arrow()
    assert (found["v"].to_numpy() == to_float(bits.astype(np.int16))).all()


def dense_activations(data: Synthetic) -> np.ndarray:
    places, features, values = data.codes
    dense = np.zeros((data.n_features, data.n_contexts * LENGTH), np.float32)
    dense[features, places] = values.astype(np.float16)
    return dense


def test_a_whole_index_agrees_with_dense_arrays(store: FeatureStore, data: Synthetic):
    dense = dense_activations(data)
    stream = data._stream
    tokens = np.array([token for *_, token in stream])
    documents = np.array([document for document, *_ in stream])
    ordinary = tokens != END
    n_documents = len(set(documents[ordinary].tolist()))
    for row in store.features().rows():
        values = dense[row["feature"]]
        active = values[values > 0].astype(np.float64)
        assert row["n_active"] == len(active)
        assert row["density"] == len(active) / ordinary.sum()
        assert row["n_documents"] == len(set(documents[values > 0].tolist()))
        assert row["documents_share"] == row["n_documents"] / n_documents
        assert row["max_activation"] == values.max()
        assert row["mean"] == pytest.approx(active.mean() if len(active) else 0, rel=1e-12)
        assert row["promoted"][0] == show(data.vocabulary[data.decoder.promoted[row["feature"], 0]])
        mass = np.bincount(tokens, values.astype(np.float64))
        assert row["top_token_id"] == (mass.argmax() if len(active) else -1)
        assert row["top_token_share"] == pytest.approx(mass.max() / active.sum() if len(active) else 0)
        assert row["top_token"] == (show(data.vocabulary[mass.argmax()]) if len(active) else None)
    meta = store.index().meta
    assert meta["n_tokens"] == ordinary.sum()
    assert meta["n_codes"] == (dense > 0).sum()
    assert meta["l0"] == pytest.approx((dense > 0).sum() / ordinary.sum())
    assert meta["n_dead"] == (dense.max(1) == 0).sum() > 0


def show(piece: bytes) -> str:
    text = piece.decode("utf-8", "surrogateescape")
    return "".join(f"⟨0x{ord(c) - 0xDC00:02X}⟩" if "\udc80" <= c <= "\udcff" else c for c in text)


@settings(max_examples=20, deadline=None)
@given(context=st.integers(0, 319))
def test_both_projections_hold_the_same_codes(store: FeatureStore, data: Synthetic, context: int):
    places, features, values = data.codes
    here = places // LENGTH == context
    columns = (places[here] % LENGTH, features[here], values[here].astype(np.float16))
    expected = sorted(zip(*(column.tolist() for column in columns), strict=True))
    found = store.codes(context).rows()
    assert [(row["position"], row["feature"], row["value"]) for row in found] == expected
    assert all(row["token"] == data._stream[context * LENGTH + row["position"]][3] for row in found)
    for view in ("activation", "code"):
        query = f"SELECT position, feature, value FROM {view} WHERE context = {context} ORDER BY ALL"
        assert [tuple(row.values()) for row in store.sql(query).rows()] == expected
