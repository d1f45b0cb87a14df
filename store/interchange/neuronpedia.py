"""Features in the layout that Neuronpedia's own import reads (its `apps/webapp/app/api/admin/import/route.ts`).

    <model>/<layer>-<set>/release.jsonl, model.jsonl, sourceset.jsonl, source.jsonl
    <model>/<layer>-<set>/features/batch-0.jsonl.gz …, activations/batch-0.jsonl.gz …

Decisions:
- Keys are the columns of Neuronpedia's tables (`prisma/schema.prisma`); the columns that its database fills itself,
  such as dates, are left out. All lines of a file have the same keys, since its import takes them from the first.
- Ids of activations are a hash of the index's content and the place, so that importing twice adds nothing and the same
  index gives the same bytes.
- Of the strongest examples `binMin` is -1, which its pages show as "Top"; `binContains` is null, because the -1 that
  SAEDashboard's files have there is refused by Neuronpedia's Python package.
- Decoder rows are written as steering vectors if the SAE's weights lie beside the index: Neuronpedia's servers cannot
  load an SAE that is in no registry.
"""

import gzip
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.compare import decoder
from store.feature import Feature
from store.index import Index
from store.interchange.dashboards import Correlations, bins, description, to_json
from store.interchange.folder import new_folder
from store.interchange.names import Names, resolved
from store.interchange.sae_dashboard import PER_FILE, batches
from store.reader import FeatureStore

CREATOR = "clkht01d40000jv08hvalcvly"
"""The user that Neuronpedia's own seed makes the default creator of everything imported (`prisma/seed.ts`)."""


def export_neuronpedia(
    store: FeatureStore,
    folder: str | Path,
    features: Sequence[int] | None = None,
    sae: str | None = None,
    corpus: str | None = None,
    names: Names = Names(),  # noqa: B008 (it is frozen)
    creator: str = "unknown",
) -> Path:
    """Write features of an index as Neuronpedia's import reads them.

    Args:
        store: an open workspace.
        folder: a new folder; it gets `<model>/<layer>-<set>/…`.
        features: which, in this order; None: all.
        sae, corpus: of which index; may be left out if there is only one.
        names: what Neuronpedia shall call model, layer and source set.
        creator: whom it shall name as author.

    Returns:
        The folder.

    Raises:
        StoreError: no such index or feature, the folder exists, or it cannot be written.
    """
    index = store.index(sae, corpus)
    model, layer, source_set = resolved(names, index)
    source = f"{layer}-{source_set}"
    vectors = _vectors(store.workspace, index)
    labels = {row["feature"]: row["label"] for row in store.labels(index.meta["sae_id"]).rows()}
    with new_folder(Path(folder)) as temporary:
        root = temporary / model / source
        for part in ("features", "activations"):
            (root / part).mkdir(parents=True)
        for name, row in _metadata(index, model, source_set, source, creator).items():
            _write_lines(root / f"{name}.jsonl", [row])
        correlations = Correlations(index)
        for number, batch in enumerate(batches(features, index.n_features, PER_FILE)):
            opened = [Feature(index, feature) for feature in batch]
            own = {"modelId": model, "layer": source}
            rows = [
                own
                | {"sourceSetName": source_set}
                | _feature_row(feature, correlations, labels.get(feature.feature), vectors)
                for feature in opened
            ]
            _write_lines(root / "features" / f"batch-{number}.jsonl.gz", rows)
            examples = [row for feature in opened for row in _activation_rows(feature, own)]
            _write_lines(root / "activations" / f"batch-{number}.jsonl.gz", examples)
    return Path(folder)


def _vectors(workspace: Path, index: Index) -> NDArray[np.float32] | None:
    """The unit decoder rows, or None if there are no weights beside the index."""
    weights = workspace / "saes" / index.meta["sae_id"] / "sae.safetensors"
    return decoder(workspace, index) if weights.is_file() else None


def _metadata(index: Index, model: str, source_set: str, source: str, creator: str) -> dict[str, dict[str, Any]]:
    """The one row of each of the files that say what the features are of."""
    by = {"creatorId": CREATOR, "visibility": "PUBLIC"}
    said = f"{index.meta['sae_id']}: {index.n_features} features"
    return {
        "release": {
            "name": source_set,
            "description": said,
            "descriptionShort": said,
            "urls": [],
            "creatorName": creator,
            "creatorNameShort": creator,
            "defaultSourceSetName": source_set,
            **by,
        },
        "model": {
            "id": model,
            "displayNameShort": model,
            "displayName": model,
            "instruct": False,
            "inferenceEnabled": False,
            "layers": 0,  # an index does not know; Neuronpedia's own converter writes 0 as well
            "neuronsPerLayer": 0,
            "owner": "",
            **by,
        },
        "sourceset": {
            "modelId": model,
            "name": source_set,
            "description": said,
            "creatorName": creator,
            "releaseName": source_set,
            "showCorrelated": True,
            "urls": [],
            **by,
        },
        "source": {
            "id": source,
            "modelId": model,
            "setName": source_set,
            "inferenceEnabled": False,
            "dataset": index.meta["corpus_id"],
            "num_prompts": index.meta["n_contexts"],
            "num_tokens_in_prompt": index.context_length,
            "notes": f"index {index.path.name}",
            **by,
        },
    }


def _feature_row(
    feature: Feature,
    correlations: Correlations,
    label: str | None,
    vectors: NDArray[np.float32] | None,
) -> dict[str, Any]:
    """A row of Neuronpedia's table `Neuron`."""
    near = feature.neighbours()
    made = feature.index.meta["provenance"].get("sae", {})
    return {
        "index": str(feature.feature),
        "creatorId": CREATOR,
        "maxActApprox": feature.stats.max_activation,
        "hasVector": vectors is not None,
        "vector": [] if vectors is None else vectors[feature.feature].tolist(),
        "vectorLabel": label,
        "vectorDefaultSteerStrength": feature.stats.max_activation,
        "hookName": made.get("hook_point"),
        "topkCosSimIndices": [neighbour.feature for neighbour in near],
        "topkCosSimValues": [neighbour.cosine for neighbour in near],
        **description(feature, correlations),
    }


def _activation_rows(feature: Feature, own: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Rows of Neuronpedia's table `Activation`."""
    meta = feature.index.meta
    for number, shown in enumerate(bins(feature)):
        for rank, example in enumerate(shown.examples):
            values = example.activations.tolist()
            named = f"{meta['content_hash']} {own['modelId']} {own['layer']} {feature.feature} {number} {rank}"
            yield {
                "id": "c" + hashlib.sha256(named.encode()).hexdigest()[:24],
                **own,
                "index": str(feature.feature),
                "creatorId": CREATOR,
                "tokens": example.text,
                "values": values,
                "maxValue": max(values),
                "maxValueTokenIndex": values.index(max(values)),
                "minValue": min(values),
                "dataIndex": str(example.context),
                "dataSource": example.document,
                "dfaValues": [],
                "dfaTargetIndex": None,
                "dfaMaxValue": None,
                "lossValues": [],
                "logitContributions": None,
                "binMin": -1 if shown.lo is None else shown.lo,
                "binMax": shown.hi,
                "binContains": shown.share,
                "qualifyingTokenIndex": example.peak,
            }


def _write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """One JSON value per line, packed if the name says so; equal rows give equal bytes."""
    data = "".join(to_json(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data, compresslevel=5, mtime=0) if path.suffix == ".gz" else data)
