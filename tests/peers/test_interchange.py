"""Files of features: what we export in the peers' own classes, and what their own code writes in an index of ours."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
import torch
from delphi.config import CacheConfig
from delphi.latents.cache import LatentCache
from delphi.latents.loader import TensorBuffer
from neuronpedia.np_activation import Activation
from neuronpedia.np_feature import Feature, Logit
from neuronpedia.np_source_set import SourceSet
from neuronpedia.requests.feature_request import FeatureRequest
from sae_dashboard.neuronpedia.neuronpedia_dashboard import NeuronpediaDashboardBatch, NeuronpediaDashboardFeature

from store import FeatureStore
from store.interchange import export_neuronpedia, export_sae_dashboard, import_delphi, import_sae_dashboard

MODULE = "layers.8.mlp"
ROWS, POSITIONS, LATENTS, SPLITS = 60, 16, 48, 5


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("workspace")
    synthetic.build(folder)
    with FeatureStore.open(folder, threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def batch(store: FeatureStore, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = export_sae_dashboard(store, tmp_path_factory.mktemp("out") / "sd", range(40))
    return json.loads((folder / "batch-0.json").read_text(encoding="utf-8"))


def test_sae_dashboard_reads_ours(batch: dict[str, Any]):
    """Their classes take exactly our keys, and give the same file back."""
    theirs = NeuronpediaDashboardBatch(**batch)
    assert theirs.to_dict() == batch
    assert set(NeuronpediaDashboardFeature().to_dict()) == set(batch["features"][0])
    assert all(
        feature == NeuronpediaDashboardFeature(**row)
        for feature, row in zip(theirs.features, batch["features"], strict=True)
    )


def test_ours_reads_sae_dashboard(batch: dict[str, Any], store: FeatureStore, tmp_path: Path):
    theirs = NeuronpediaDashboardBatch(**batch)
    (tmp_path / "batch-0.json").write_text(json.dumps(theirs.to_dict()))
    import_sae_dashboard(tmp_path / "w", tmp_path / "batch-0.json", "theirs")
    with FeatureStore.open(tmp_path / "w", threads=1) as imported:
        for feature in theirs.features:
            shown = {(tuple(a.tokens), tuple(a.values)) for a in feature.activations}
            stats = imported.feature("theirs", feature.feature_index).stats
            assert stats.n_active == sum(value > 0 for _, values in shown for value in values)
            assert stats.max_activation == store.feature(None, feature.feature_index).stats.max_activation


def lines(path: Path) -> list[dict[str, Any]]:
    data = path.read_bytes()
    return [json.loads(line) for line in (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines()]


def test_neuronpedia_reads_ours(store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Rows in the package's own classes, which check them, and through its upload up to the request itself."""
    root = next(export_neuronpedia(store, tmp_path / "np", range(12)).glob("*/*"))
    sources = lines(root / "source.jsonl")
    source_set = SourceSet.from_np_db_json({**lines(root / "sourceset.jsonl")[0], "sources": sources})
    source = source_set.get_source_for_layer_number(2)
    rows = lines(root / "activations" / "batch-0.jsonl.gz")
    by_feature: dict[str, list[Activation]] = {}
    for row in rows:
        by_feature.setdefault(row["index"], []).append(Activation.from_np_db_json({**row, "source": row["layer"]}))
    features = [
        Feature(
            modelId=row["modelId"],
            source=row["layer"],
            index=int(row["index"]),
            density=row["frac_nonzero"],
            top_logits=[Logit(*pair) for pair in zip(row["pos_str"], row["pos_values"], strict=True)],
            bottom_logits=[Logit(*pair) for pair in zip(row["neg_str"], row["neg_values"], strict=True)],
            activations=by_feature.get(row["index"], []),
        )
        for row in lines(root / "features" / "batch-0.jsonl.gz")
    ]
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(FeatureRequest, "__init__", lambda self: None)
    monkeypatch.setattr(FeatureRequest, "send_request", lambda self, **request: sent.append(request["json"]))
    source.upload_batch(features)
    assert (sent[0]["modelId"], sent[0]["source"]) == ("demo", root.name)
    assert [feature["density"] for feature in sent[0]["features"]] == [
        store.feature(None, number).stats.density for number in range(12)
    ]
    assert sum(len(feature["activations"]) for feature in sent[0]["features"]) == len(rows)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.Tensor, torch.Tensor]:
    """(folder, latents[rows, positions, latents], tokens) cached and split by delphi itself."""
    generator = torch.Generator().manual_seed(3)
    latents = torch.randn(ROWS, POSITIONS, LATENTS, generator=generator).sub(1).relu() * 3
    latents[..., 7] = 0
    tokens = torch.randint(0, 250, (ROWS, POSITIONS), generator=generator)
    cached = LatentCache(None, {}, batch_size=20)
    for number in range(3):
        here = slice(20 * number, 20 * (number + 1))
        cached.cache.add(latents[here], tokens[here], number, MODULE)
    cached.width = LATENTS
    cached.cache.save()
    folder = tmp_path_factory.mktemp("latents")
    cached.save_splits(SPLITS, folder)
    cached.save_config(folder, CacheConfig(), "gpt2")
    return folder / MODULE, latents, tokens


def test_ours_reads_delphi(cache: tuple[Path, torch.Tensor, torch.Tensor], tmp_path: Path):
    """Code for code what delphi's loader gives, and what the latents were."""
    folder, latents, tokens = cache
    import_delphi(tmp_path, folder, [bytes([token]) for token in range(256)])
    with FeatureStore.open(tmp_path, threads=1) as imported:
        rows = imported.sql("SELECT context, position, feature, value FROM activation").rows()
        ours = {(row["context"], row["position"], row["feature"]): row["value"] for row in rows}
        theirs = {}
        for path in folder.glob("*.safetensors"):
            buffer = TensorBuffer(str(path), MODULE)
            for data in buffer:
                locations = map(tuple, data.activation_data.locations.tolist())
                theirs |= dict(zip(locations, data.activation_data.activations.tolist(), strict=True))
            assert torch.equal(buffer.tokens, tokens)
        assert ours == theirs
        assert len(ours) == int((latents > 1e-5).sum())
        dense = np.zeros(latents.shape, np.float32)
        for place, value in ours.items():
            dense[place] = value
        np.testing.assert_array_equal(dense, latents.half().float().numpy())
        assert imported.context(5).tokens == tokens[5].tolist()
        assert imported.feature(None, 7).stats.n_active == 0
