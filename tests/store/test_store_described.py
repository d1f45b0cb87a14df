from pathlib import Path

import numpy as np
import pytest
import synthetic

from store import Annotations, Explanation, FeatureStore


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which feature 3 has a label, features 3, 4 and 5 explanations."""
    folder = tmp_path_factory.mktemp("told")
    synthetic.build(folder)
    notes = Annotations(folder)
    notes.set_label(synthetic.SAE, 3, "third", "me")
    rows = [(3, "v1", "three", 0.5), (4, "v1", "worse", 0.25), (4, "v2", "better", 0.75), (5, "v1", "unscored", None)]
    notes.add_explanations(
        Explanation(synthetic.SAE, synthetic.CORPUS, feature, "test", version, text, score)
        for feature, version, text, score in rows
    )
    return folder


def test_the_nearest_feature_is_the_first_neighbour(store: FeatureStore, data: synthetic.Synthetic):
    found = store.described().order("feature").df()
    assert found["nearest"].tolist() == data.decoder.neighbours[:, 0].tolist()
    np.testing.assert_array_equal(found["nearest_cosine"], data.decoder.neighbour_cosine[:, 0])


def test_columns_are_those_of_features_and_what_is_said(store: FeatureStore):
    described = store.described()
    assert described.columns[: len(store.features().columns)] == store.features().columns
    plain = described.select(*store.features().columns).order("feature").arrow()
    assert plain.equals(store.features().order("feature").arrow())
    assert set(described.select("explanation", "explanation_score").df().isna().all()) == {True}


def test_the_best_explanation_stands_beside_its_feature(told: Path):
    with FeatureStore.open(told) as store:
        rows = store.described().filter("explanation IS NOT NULL").order("feature").rows()
        said = [(row["feature"], row["label"], row["explanation"], row["explanation_score"]) for row in rows]
        assert said == [(3, "third", "three", 0.5), (4, None, "better", 0.75), (5, None, "unscored", None)]
        assert len(store.described()) == synthetic.N_FEATURES
        found = store.search(text="better", where="explanation_score > 0.5").rows()
        assert [(row["feature"], row["said"]) for row in found] == [(4, "better")]


def test_what_features_are_called(told: Path):
    with FeatureStore.open(told) as store:
        assert store.said(synthetic.SAE, [5, 3, 4, 6]) == {
            3: ("third", None, True),
            4: ("better", 0.75, False),
            5: ("unscored", None, False),
        }
        assert store.said(synthetic.SAE, []) == {}
        store.label(synthetic.SAE, 6, "sixth")
        assert store.said(synthetic.SAE, [6])[6].text == "sixth"
        Annotations(told).remove_label(synthetic.SAE, 6)


def test_the_catalogue_is_read_again_when_it_has_changed(told: Path):
    from store import Catalog

    with FeatureStore.open(told) as store:
        before = {row["id"] for row in store.saes()}
        Catalog(told).put("sae", "another", {"fvu": 0.5})
        assert {row["id"] for row in store.saes()} == before | {"another"}
        Catalog(told).remove("sae", "another")
        assert {row["id"] for row in store.saes()} == before
