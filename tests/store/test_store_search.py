"""Searches against the same thing worked out in Python from the data itself."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import CORPUS, END, LENGTH, SAE, Synthetic

from store import Annotations, Explanation, FeatureStore, StoreError


@pytest.fixture(scope="module")
def explained(workspace: Path, tmp_path_factory: pytest.TempPathFactory):
    """A store with labels and explanations."""
    folder = tmp_path_factory.mktemp("explained")
    shutil.copytree(workspace, folder, dirs_exist_ok=True)
    kept = Annotations(folder)
    kept.set_label(SAE, 5, "Inside DOCSTRINGS", "x")
    kept.set_label(SAE, 6, "closing brackets", "x")
    kept.set_label("other.sae", 7, "docstrings elsewhere", "x")
    texts = [(5, "brackets", 0.9), (8, "docstrings, their first line", 0.3), (8, "a docstrings line", 0.7)]
    texts += [(9, "100% of a_b 'docstrings'", None), (10, "a doc", 1.0), (299, "docstrings (dead)", 0.7)]
    kept.add_explanations(
        Explanation(SAE, CORPUS, f, "m", str(i), text, score) for i, (f, text, score) in enumerate(texts)
    )
    with FeatureStore.open(folder, threads=1) as opened:
        yield opened


def test_by_words_of_labels_and_explanations(explained: FeatureStore):
    found = explained.search(SAE, text="docstrings").rows()
    said = [(row["feature"], row["said"], row["score"], row["labelled"]) for row in found]
    assert said == [
        (5, "Inside DOCSTRINGS", None, True),
        (8, "a docstrings line", 0.7, False),
        (299, "docstrings (dead)", 0.7, False),
        (9, "100% of a_b 'docstrings'", None, False),
    ]
    for text, features in [
        ("line first", [8]),
        ("LINE a", [8]),
        ("brackets", [6, 5]),
        ("%", [9]),
        ("a_b", [9]),
        ("'", [9]),
        ("inside brackets", []),
        ("x_y", []),
    ]:
        assert [row["feature"] for row in explained.search(SAE, text=text).rows()] == features
    assert explained.search(text="docstrings", where="density > 0 AND label IS NULL").count() == 2


def shares(data: Synthetic, tokens: set[int]) -> dict[int, tuple[float, int]]:
    """feature → (share of its summed activation on the tokens, places), from the data as given."""
    ids = np.concatenate([block.tokens.ravel() for block in data.blocks()])
    places, features, values = data.codes
    stored = values.astype(np.float16).astype(np.float64)
    here = np.isin(ids[places], sorted(tokens)) & (stored > 0)
    total = np.bincount(features, stored, minlength=data.n_features)
    spent = np.bincount(features[here], stored[here], minlength=data.n_features)
    counts = np.bincount(features[here], minlength=data.n_features)
    return {f: (spent[f] / total[f], int(counts[f])) for f in np.flatnonzero(counts)}


@pytest.mark.parametrize("texts", [[" self"], ["\n"], ["(", ")"], ["1", "1", "2"], ["<|endoftext|>"]])
def test_by_token_is_the_share_of_activation(store: FeatureStore, data: Synthetic, texts: list[str]):
    tokens = {token for token, piece in enumerate(data.vocabulary) if piece.decode(errors="replace") in texts}
    expected = shares(data, tokens)
    found = store.search(SAE, token=texts if len(texts) > 1 else texts[0]).rows()
    assert {row["feature"]: row["token_count"] for row in found} == {f: n for f, (_, n) in expected.items()}
    assert [row["token_share"] for row in found] == pytest.approx([expected[row["feature"]][0] for row in found])
    assert [row["token_share"] for row in found] == sorted((row["token_share"] for row in found), reverse=True)
    assert bool(found) == (END not in tokens)


@settings(deadline=None, max_examples=20)
@given(choice=st.data())
def test_by_any_tokens(store: FeatureStore, data: Synthetic, choice: st.DataObject):
    readable = [t for t, piece in enumerate(data.vocabulary) if piece.decode(errors="ignore").encode() == piece != b""]
    tokens = choice.draw(st.lists(st.sampled_from(readable), min_size=1, max_size=4))
    texts = [data.vocabulary[token].decode() for token in tokens]
    same = {t for t, piece in enumerate(data.vocabulary) if piece in {text.encode() for text in texts}}
    found = store.search(token=texts).rows()
    assert {row["feature"]: row["token_count"] for row in found} == {f: n for f, (_, n) in shares(data, same).items()}


@pytest.mark.parametrize("sign", [1, -1])
def test_by_what_logits_it_moves(store: FeatureStore, data: Synthetic, sign: int):
    ids = data.decoder.promoted if sign > 0 else data.decoder.suppressed
    logits = data.decoder.promoted_logit if sign > 0 else data.decoder.suppressed_logit
    name, column = ("promoted", "promotes") if sign > 0 else ("suppressed", "suppresses")
    for token in (data.vocabulary.index(b" self"), data.vocabulary.index(b"(")):
        features, slots = np.nonzero(ids == token)
        expected = sorted(zip(-sign * logits[features, slots], features, strict=True))
        found = store.search(SAE, **{name: data.vocabulary[token].decode()}).rows()
        assert len(found) > 0
        assert [row["feature"] for row in found] == [feature for _, feature in expected]
        assert [row[column] for row in found] == [-sign * value for value, _ in expected]


def test_conditions_must_all_hold(store: FeatureStore):
    token = next(token for token in store.feature(SAE, 2).logits().promoted if token.text.isascii()).text
    one = {row["feature"] for row in store.search(promoted=token).rows()}
    other = {row["feature"] for row in store.search(token="(", where="token_count > 3").rows()}
    both = store.search(token="(", promoted=token, where="token_count > 3")
    assert {row["feature"] for row in both.rows()} == one & other
    assert 2 in one & other
    assert both.columns[:4] == ("feature", "token_share", "token_count", "promotes")
    assert both.columns[4:] == store.described().columns[1:]
    dense = store.features().filter("density > .01").order("max_activation DESC, feature")
    assert store.search(where="density > .01").df().feature.tolist() == dense.df().feature.tolist()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.search(), "say what to search for"),
        (lambda s: s.search(text="  "), "text to search for is empty"),
        (lambda s: s.search(token="Self"), "has no token 'Self'; it has 'self', ' self'"),
        (lambda s: s.search(token=[" self", "SELF"]), "has no token 'SELF'; it has 'self', ' self'"),
        (lambda s: s.search(promoted="a longer text"), "no token 'a longer text'; tokens are short pieces"),
        (lambda s: s.search(token=[]), "no token to search for"),
        (lambda s: s.search(token=""), "no token ''"),
        (lambda s: s.search(where="densty > 1"), "did you mean 'density'"),
        (lambda s: s.search("nope", text="x"), "no index of 'nope'"),
    ],
)
def test_bad_searches_are_one_line(store: FeatureStore, call: Callable, message: str):
    with pytest.raises(StoreError, match=re.escape(message)) as raised:
        call(store)
    assert "\n" not in str(raised.value)


@settings(deadline=None, max_examples=20)
@given(
    rows=st.lists(
        st.dictionaries(st.integers(0, 299), st.sampled_from([0.0, 0.5, 1.0, 2.0, 7.25]), max_size=6), max_size=9
    )
)
def test_strongest_features_of_a_text(store: FeatureStore, rows: list[dict[int, float]]):
    features = [feature for row in rows for feature in row]
    values = [value for row in rows for value in row.values()]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    expected: dict[int, tuple[float, int, int]] = {}
    for feature in set(features):
        series = [row.get(feature, 0.0) for row in rows]
        if max(series) > 0:
            expected[feature] = (max(series), series.index(max(series)), sum(value > 0 for value in series))
    found = store.strongest(offsets, np.array(features, np.int32), np.array(values, np.float32), SAE).rows()
    assert {row["feature"]: (row["activation"], row["position"], row["n_tokens"]) for row in found} == expected
    for row in found:
        largest = store.feature(SAE, row["feature"]).stats.max_activation
        assert row["max_activation"] == largest
        assert row["normalised"] == (pytest.approx(row["activation"] / largest) if largest else None)
    shares = [row["normalised"] for row in found if row["normalised"] is not None]
    assert shares == sorted(shares, reverse=True)
    assert all(row["normalised"] is None for row in found[len(shares) :])


def test_strongest_of_a_real_context(store: FeatureStore, data: Synthetic):
    """The codes of a context of the corpus: the strongest has what the corpus' own tables say."""
    block = data.block(5, 6)
    found = store.strongest(block.offsets, block.features, block.values.astype(np.float16)).df()
    codes = store.codes(5).df()
    peaks = codes.groupby("feature").value.max()
    assert found.set_index("feature").activation.sort_index().tolist() == peaks.sort_index().tolist()
    assert found.position.between(0, LENGTH - 1).all()
    assert found.normalised.max() <= 1


@pytest.mark.parametrize(
    ("offsets", "features", "values", "message"),
    [
        ([0, 1], [300], [1.0], "outside 0 to 299"),
        ([0, 1], [-1], [1.0], "outside 0 to 299"),
        ([0, 2], [1], [1.0], "do not fit together"),
        ([], [], [], "do not fit together"),
        ([0, 1], [1], [1.0, 2.0], "do not fit together"),
        ([0, 1], [1], [float("nan")], "not finite"),
        ([0, 1], [1], [-1.0], "negative"),
    ],
)
def test_bad_codes_are_refused(store: FeatureStore, offsets: list, features: list, values: list, message: str):
    with pytest.raises(StoreError, match=message):
        store.strongest(np.array(offsets), np.array(features, np.int32), np.array(values, np.float32))
