"""What is exported is what the codes say, counted anew with NumPy."""

import gzip
import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from synthetic import CORPUS, DEAD, LENGTH, SAE, Synthetic

from store import FeatureStore, StoreError
from store.interchange import Names, export_neuronpedia, export_sae_dashboard

FEATURES = [7, 11, 0, 13, 40, 299]

# Columns of Neuronpedia's tables: apps/webapp/prisma/schema.prisma and db_models/activation.py of its repository.
NEURON = """modelId layer index sourceSetName creatorId createdAt maxActApprox hasVector vector vectorLabel
    vectorDefaultSteerStrength hookName topkCosSimIndices topkCosSimValues neuron_alignment_indices
    neuron_alignment_values neuron_alignment_l1 correlated_neurons_indices correlated_neurons_pearson
    correlated_neurons_l1 correlated_features_indices correlated_features_pearson correlated_features_l1 neg_str
    neg_values pos_str pos_values frac_nonzero freq_hist_data_bar_heights freq_hist_data_bar_values
    logits_hist_data_bar_heights logits_hist_data_bar_values decoder_weights_dist"""
ACTIVATION = """id tokens index layer modelId maxValue maxValueTokenIndex minValue values creatorId dataSource dataIndex
    dfaValues dfaTargetIndex dfaMaxValue createdAt lossValues logitContributions binMin binMax binContains
    qualifyingTokenIndex"""
METADATA = {  # what its import cannot do without
    "release": {"name", "description", "creatorName", "creatorId"},
    "model": {"id", "creatorId", "layers", "neuronsPerLayer", "owner"},
    "sourceset": {"modelId", "name", "description", "creatorName", "creatorId"},
    "source": {"id", "modelId", "setName", "creatorId"},
}


@pytest.fixture(scope="module")
def batch(store: FeatureStore, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """The features of `FEATURES` as SAEDashboard has them, four per file."""
    folder = export_sae_dashboard(store, tmp_path_factory.mktemp("out") / "sd", FEATURES, per_file=4)
    assert sorted(path.name for path in folder.iterdir()) == ["batch-0.json", "batch-1.json"]
    files = [json.loads((folder / f"batch-{i}.json").read_text(encoding="utf-8")) for i in range(2)]
    assert [len(file.pop("features")) for file in map(dict, files)] == [4, 2]
    assert {(file["model_id"], file["layer"], file["sae_id_suffix"]) for file in files} == {("demo", 2, None)}
    return files[0]["features"] + files[1]["features"]


@pytest.fixture(scope="module")
def dense(data: Synthetic) -> np.ndarray:
    """float64[features, tokens], every stored activation at every ordinary token."""
    places, features, values = data.codes
    out = np.zeros((data.n_features, data.n_contexts * LENGTH))
    out[features, places] = values.astype(np.float16)
    return out[:, data.block(0, data.n_contexts).special.ravel() == 0]


def test_figures(batch: list[dict], dense: np.ndarray):
    assert [row["feature_index"] for row in batch] == FEATURES
    for row in batch:
        own = dense[row["feature_index"]]
        active = own[own > 0]
        assert row["frac_nonzero"] == pytest.approx(len(active) / dense.shape[1], abs=1e-12)
        assert sum(row["freq_hist_data_bar_heights"]) == len(active)
        for middle, height in zip(row["freq_hist_data_bar_values"], row["freq_hist_data_bar_heights"], strict=True):
            half = active.max() / 60
            assert height == pytest.approx(np.count_nonzero(np.abs(active - middle) <= half), abs=1)


def test_bins_hold_what_they_say(batch: list[dict], dense: np.ndarray):
    for row in batch:
        active = np.sort(dense[row["feature_index"]])
        active = active[active > 0]
        if row["feature_index"] in DEAD:
            assert row["activations"] == []
            continue
        assert max(max(shown["values"]) for shown in row["activations"]) == active[-1]
        edges = {0.0: 0, 0.25: 250, 0.5: 500, 0.75: 750, 0.95: 950, 1.0: 1000}
        cuts = [-(-len(active) * edge // 1000) for edge in edges.values()]
        truth = {
            (active[first], active[last - 1], (last - first) / dense.shape[1])
            for first, last in itertools.pairwise(cuts)
            if last > first
        }
        bins = {(shown["bin_min"], shown["bin_max"], shown["bin_contains"]) for shown in row["activations"]}
        assert bins - {(-1, active[-1], -1)} <= truth
        assert len(bins) > 1
        for shown in row["activations"]:
            peak = shown["values"][shown["qualifying_token_index"]]
            assert shown["bin_min"] == -1 or shown["bin_min"] <= peak <= shown["bin_max"]


def test_every_example_is_a_place_of_the_corpus(batch: list[dict], data: Synthetic, store: FeatureStore):
    for row in batch:
        feature = store.feature(SAE, row["feature_index"])
        bands = [example for band in feature.quantile_examples(1000) for example in band.examples]
        examples = [*feature.top(1000), *bands] if row["activations"] else []
        assert len(examples) == len(row["activations"])
        for example, shown in zip(examples, row["activations"], strict=True):
            assert shown["tokens"] == example.text
            assert len(shown["tokens"]) == len(shown["values"])
            first = example.context * LENGTH + example.start
            places, features, values = data.codes
            own = (features == row["feature_index"]) & (places >= first) & (places < first + len(example.text))
            wanted = np.zeros(len(example.text))
            wanted[places[own] - first] = values[own].astype(np.float16)
            np.testing.assert_array_equal(shown["values"], wanted)


def test_correlations_are_those_of_all_tokens(batch: list[dict], dense: np.ndarray):
    for row in batch:
        own = dense[row["feature_index"]]
        partners = row["correlated_features_indices"]
        for partner, pearson, cosine in zip(
            partners, row["correlated_features_pearson"], row["correlated_features_l1"], strict=True
        ):
            other = dense[partner]
            assert pearson == pytest.approx(np.corrcoef(own, other)[0, 1], rel=1e-5)
            assert cosine == pytest.approx(own @ other / np.linalg.norm(own) / np.linalg.norm(other), rel=1e-5)


def test_logits(batch: list[dict], data: Synthetic, store: FeatureStore):
    for row in batch:
        feature = row["feature_index"]
        np.testing.assert_array_equal(np.float32(row["pos_values"]), data.decoder.promoted_logit[feature])
        np.testing.assert_array_equal(np.float32(row["neg_values"]), data.decoder.suppressed_logit[feature])
        assert row["pos_str"] == store.feature(SAE, feature).stats.promoted
        assert sum(row["logits_hist_data_bar_heights"]) == data.decoder.logit_histogram[feature].sum()


def lines(path: Path) -> list[dict]:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in data.decode().splitlines()]


def test_neuronpedia_layout(store: FeatureStore, batch: list[dict], tmp_path: Path):
    names = Names(model="google/Gemma-2", layer=20, source_set="res 16k")
    root = (
        export_neuronpedia(store, tmp_path / "np", FEATURES, names=names, creator="Ada") / "google-gemma-2/20-res-16k"
    )
    metadata = {name: lines(root / f"{name}.jsonl") for name in ("release", "model", "sourceset", "source")}
    assert all(len(rows) == 1 for rows in metadata.values())
    assert metadata["source"][0]["id"] == root.name
    assert metadata["source"][0]["setName"] == metadata["sourceset"][0]["name"] == "res-16k"
    assert metadata["sourceset"][0]["releaseName"] == metadata["release"][0]["name"]
    assert metadata["sourceset"][0]["creatorName"] == "Ada"
    assert {rows[0].get("modelId", rows[0].get("id")) for name, rows in metadata.items() if name != "release"} == {
        root.parent.name
    }
    assert all(needed <= metadata[name][0].keys() for name, needed in METADATA.items())
    features = lines(root / "features" / "batch-0.jsonl.gz")
    activations = lines(root / "activations" / "batch-0.jsonl.gz")
    assert len({tuple(row) for row in features}) == len({tuple(row) for row in activations}) == 1
    assert set(features[0]) == set(NEURON.split()) - {"createdAt"}
    assert set(activations[0]) == set(ACTIVATION.split()) - {"createdAt"}
    assert len({row["id"] for row in activations}) == len(activations)
    for row, wanted in zip(features, batch, strict=True):
        assert (row["modelId"], row["layer"], row["index"]) == (
            "google-gemma-2",
            root.name,
            str(wanted["feature_index"]),
        )
        shared = row.keys() & wanted.keys()
        assert len(shared) > 15
        assert {key: row[key] for key in shared} == {key: wanted[key] for key in shared}
        near = store.feature(SAE, wanted["feature_index"]).neighbours()
        assert row["topkCosSimIndices"] == [neighbour.feature for neighbour in near]
        assert not row["hasVector"]
        own = [shown for shown in activations if shown["index"] == row["index"]]
        assert [(shown["tokens"], shown["values"]) for shown in own] == [
            (shown["tokens"], shown["values"]) for shown in wanted["activations"]
        ]
        assert row["maxActApprox"] == max((shown["maxValue"] for shown in own), default=0)
        for shown in own:
            assert shown["values"][shown["maxValueTokenIndex"]] == shown["maxValue"] == max(shown["values"])


def test_equal_exports_are_equal_bytes(store: FeatureStore, tmp_path: Path):
    def contents(root: Path) -> dict[str, bytes]:
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    first, second = (contents(export_neuronpedia(store, tmp_path / name, [3, 4])) for name in "ab")
    assert first == second
    assert len(first) == 6


def test_labels_travel(workspace: Path, tmp_path: Path):
    shutil.copytree(workspace, tmp_path / "copy")
    with FeatureStore.open(tmp_path / "copy", threads=1) as store:
        store.label(SAE, 4, "four", author="Ada")
        root = export_neuronpedia(store, tmp_path / "np", [3, 4])
    assert [row["vectorLabel"] for row in lines(next(root.rglob("features/*")))] == [None, "four"]


def test_nothing_half_written(store: FeatureStore, tmp_path: Path):
    for export in (export_sae_dashboard, export_neuronpedia):
        with pytest.raises(StoreError, match="has no feature 300"):
            export(store, tmp_path / "out", [1, 300])
        (tmp_path / "full").mkdir(exist_ok=True)
        (tmp_path / "full" / "mine").write_text("x")
        with pytest.raises(StoreError, match="is there already"):
            export(store, tmp_path / "full", [1])
        with pytest.raises(StoreError, match="has no index"):
            export(store, tmp_path / "out", [1], sae="none", corpus=CORPUS)
        assert sorted(path.name for path in tmp_path.rglob("*")) == ["full", "mine"]
