"""Which examples are shown, against plain loops, and what they show, against the source text."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from synthetic import DEAD, DENSE, LENGTH, Synthetic
from test_store_statistics import dense_activations, dense_codes, gather

from store import Feature, FeatureStore, examples
from store.examples import BANDS, PER_BAND, TOP, choose, sample_bands, strongest
from store.positions import SAME_AFTER, SAME_BEFORE, Positions, hashes_around

CONTEXT = 8
few_tokens = hnp.arrays(np.int32, (5, CONTEXT), elements=st.integers(0, 1))


def positions_of(tokens: np.ndarray) -> Positions:
    empty, spans = np.zeros(0, np.int64), np.zeros(tokens.size, np.int32)
    return Positions(CONTEXT, tokens.ravel(), spans, hashes_around(tokens).ravel(), empty, empty)


def around(tokens: np.ndarray, place: int) -> tuple[tuple[int, ...], int, int]:
    """The tokens that make two examples the same text."""
    context, position = divmod(place, tokens.shape[1])
    first, last = max(position - SAME_BEFORE, 0), min(position + SAME_AFTER + 1, tokens.shape[1])
    return tuple(tokens[context, first:last].tolist()), position - first, last - position


def strongest_by_loops(row: np.ndarray, tokens: np.ndarray, n: int) -> list[int]:
    peaks = []
    for context, values in enumerate(row.reshape(tokens.shape)):
        if values.any():
            peaks.append((-values.max(), context * tokens.shape[1] + int(values.argmax())))
    seen, kept = set(), []
    for _, place in sorted(peaks):
        text = around(tokens, place)
        if text not in seen:
            seen.add(text)
            kept.append(place)
    return kept[:n]


@given(dense_codes(), few_tokens, st.integers(1, 4))
def test_strongest(dense: np.ndarray, tokens: np.ndarray, n: int):
    codes = gather(dense)
    found = strongest(codes, positions_of(tokens), n)
    for i, row in enumerate(dense):
        own = codes.places[found[codes.features[found] == i]].tolist()
        assert own == strongest_by_loops(row, tokens, n)


def test_strongest_looks_further_when_texts_repeat():
    tokens = np.zeros((500, CONTEXT), np.int32)
    tokens[490:, 3] = np.arange(10) + 1
    dense = np.zeros((1, tokens.size), np.float16)
    dense[0, 3::CONTEXT] = np.linspace(2, 1, 500)
    found = strongest(gather(dense), positions_of(tokens), 8)
    assert (gather(dense).places[found] // CONTEXT).tolist() == [0, *range(490, 497)]


@given(dense_codes(), few_tokens)
def test_bands(dense: np.ndarray, tokens: np.ndarray):
    codes, positions = gather(dense), positions_of(tokens)
    sampled, bands = sample_bands(codes, positions)
    assert (bands >= 1).all()
    assert (bands < len(BANDS)).all()
    for i, row in enumerate(dense):
        order = sorted(np.flatnonzero(row), key=lambda place: (row[place], place))
        for band in range(1, len(BANDS)):
            members = {p for r, p in enumerate(order) if BANDS[band - 1] <= r * 1000 // len(order) < BANDS[band]}
            own = codes.places[sampled[(codes.features[sampled] == i) & (bands == band)]].tolist()
            contexts, texts = {p // CONTEXT for p in own}, {around(tokens, p) for p in own}
            assert set(own) <= members
            assert len(contexts) == len(texts) == len(own) <= PER_BAND
            for p in members - set(own) if len(own) < PER_BAND else ():  # nothing was left out without a reason
                assert p // CONTEXT in {q // CONTEXT for q in members - {p}} or around(tokens, p) in {
                    around(tokens, q) for q in members - {p}
                }


@given(dense_codes(), few_tokens)
def test_order_and_ranks(dense: np.ndarray, tokens: np.ndarray):
    codes = gather(dense)
    chosen = choose(codes, positions_of(tokens))
    seen: dict[tuple[int, int], list[float]] = defaultdict(list)
    for code, band, rank in zip(chosen.code, chosen.band, chosen.rank, strict=True):
        group = seen[int(codes.features[code]), int(band)]
        assert rank == len(group)
        group.append(float(codes.halves[code].view(np.float16)))
    assert all(
        values == sorted(values, reverse=True) for (_, band), values in seen.items() if band != examples.RANDOM_BAND
    )
    assert list(seen) == sorted(seen)


def test_equal_tokens_hash_equally_and_others_do_not():
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 2, (400, 24)).astype(np.int32)
    by_hash = defaultdict(set)
    for place, value in enumerate(hashes_around(tokens).ravel().tolist()):
        by_hash[value].add(around(tokens, place))
    texts = {text for group in by_hash.values() for text in group}
    assert all(len(group) == 1 for group in by_hash.values())
    assert len(texts) == len(by_hash)


def test_top_examples_of_a_whole_index(store: FeatureStore, data: Synthetic):
    dense = dense_activations(data)
    tokens = np.array([token for *_, token in data._stream], np.int32).reshape(-1, LENGTH)
    for feature in (DENSE, 1, 7, 11, 100, 250):
        found = [e.context * LENGTH + e.position for e in store.feature(None, feature).top(TOP)]
        assert found == strongest_by_loops(dense[feature], tokens, TOP)
    assert len(store.feature(None, DENSE).top(TOP)) == TOP


def examples_of(feature: Feature):
    return [*feature.top(TOP), *(example for band in feature.quantile_examples(PER_BAND) for example in band.examples)]


@pytest.mark.parametrize("plain", [True, False])
def test_examples_show_the_source(store: FeatureStore, data: Synthetic, monkeypatch: pytest.MonkeyPatch, plain: bool):
    """Made from the tokens alone, as this corpus allows, and cut out of the source."""
    assert store.index().meta["plain_text"]
    monkeypatch.setitem(store.index().meta, "plain_text", plain)
    dense = dense_activations(data)
    for feature in range(0, data.n_features, 23):
        for example in examples_of(store.feature(None, feature)):
            for shown in (example, example.whole()):
                start = shown.context * LENGTH + shown.start
                stream = data._stream[start : start + len(shown.tokens)]
                assert shown.tokens == [token for *_, token in stream]
                assert shown.special == [piece is None for *_, piece, _ in stream]
                assert shown.pieces == [piece or b"<|endoftext|>" for *_, piece, _ in stream]
                assert shown.activations.tolist() == dense[feature, start : start + len(stream)].tolist()
                assert shown.activations[shown.peak] == shown.value > 0
                document, byte, *_ = stream[shown.peak]
                assert (shown.document, shown.byte) == (data.documents[document][0], byte)
            assert len(example.whole().tokens) == LENGTH


def test_bands_are_the_same_in_every_build_and_cover_ranks(store: FeatureStore):
    bands = store.feature(None, DENSE).quantile_examples(PER_BAND)
    assert (bands[0].lo, bands[0].hi) == (0.95, 1.0)
    assert all(len(band.examples) == PER_BAND for band in bands)
    lows = [min(e.value for e in band.examples) for band in bands]
    highs = [max(e.value for e in band.examples) for band in bands]
    assert all(low >= high for low, high in zip(lows[:-1], highs[1:], strict=True))
    assert [len(band.examples) for band in store.feature(None, DENSE).quantile_examples(3)] == [3] * len(bands)


def test_a_dead_feature_has_a_page_too(store: FeatureStore):
    dead = store.feature(None, DEAD[0])
    assert dead.top() == []
    assert all(band.examples == [] for band in dead.quantile_examples())
    assert len(dead.histogram().counts) == 0
    assert dead.stats.q == {}
    assert (dead.stats.n_active, dead.stats.max_activation, dead.stats.top_token) == (0, 0, None)
    assert (dead.stats.dead, dead.stats.dense, dead.stats.bos_only) == (True, False, False)
    assert store.feature(None, DENSE).stats.dense
    assert len(dead.neighbours()) == 10
    assert dead.logit_histogram().counts.sum() > 0
    assert repr(dead).startswith(f"<Feature {DEAD[0]}")


def test_decoder_tables_come_back(store: FeatureStore, data: Synthetic):
    for i in (0, 42, 299):
        feature = store.feature(None, i)
        assert [n.feature for n in feature.neighbours()] == data.decoder.neighbours[i].tolist()
        assert [n.cosine for n in feature.neighbours()] == data.decoder.neighbour_cosine[i].tolist()
        logits = feature.logits()
        for found, ids, values in (
            (logits.promoted, data.decoder.promoted[i], data.decoder.promoted_logit[i]),
            (logits.suppressed, data.decoder.suppressed[i], data.decoder.suppressed_logit[i]),
        ):
            assert [token.token for token in found] == ids.tolist()
            assert [token.value for token in found] == values.tolist()
        edges, counts = feature.logit_histogram()
        assert edges.tolist() == data.decoder.logit_histogram_edges.tolist()
        assert counts.tolist() == data.decoder.logit_histogram[i].tolist()
        assert feature.stats.encoder_decoder_cosine == data.decoder.encoder_decoder_cosine[i]
        assert feature.histogram().counts.sum() == feature.stats.n_active
