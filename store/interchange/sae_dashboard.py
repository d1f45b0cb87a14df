"""Features as SAEDashboard writes them: `batch-0.json`, `batch-1.json`, … (keys as in sae_dashboard 0.8).

Decisions:
- Intervals are bands of rank (the weakest quarter, …, the strongest twentieth), not equal widths of value as theirs:
  of those, the lowest holds nearly everything. `bin_min`, `bin_max` and `bin_contains` are true of what is shown.
- `correlated_features_*` are over all features, not inside a file.
- `vector` is empty, as theirs is for SAEs.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from store.feature import Feature
from store.interchange.dashboards import Bin, Correlations, bins, description, to_json
from store.interchange.folder import new_folder
from store.interchange.names import Names, resolved
from store.reader import FeatureStore

PER_FILE = 128
"""Features of one file, as SAEDashboard has them."""


def export_sae_dashboard(
    store: FeatureStore,
    folder: str | Path,
    features: Sequence[int] | None = None,
    sae: str | None = None,
    corpus: str | None = None,
    names: Names = Names(),  # noqa: B008 (it is frozen)
    per_file: int = PER_FILE,
) -> Path:
    """Write features of an index as SAEDashboard's batch files.

    Args:
        store: an open workspace.
        folder: a new folder.
        features: which, in this order; None: all.
        sae, corpus: of which index; may be left out if there is only one.
        names: what SAEDashboard shall call model, layer and SAE.
        per_file: features of one file.

    Returns:
        The folder: it has all files.

    Raises:
        StoreError: no such index or feature, the folder exists, or it cannot be written.
    """
    index = store.index(sae, corpus)
    model, layer, source_set = resolved(names, index)
    head = {"model_id": model, "layer": layer, "sae_set": source_set, "sae_id_suffix": None}
    with new_folder(Path(folder)) as temporary:
        correlations = Correlations(index)
        for number, batch in enumerate(batches(features, index.n_features, per_file)):
            rows = [feature_row(Feature(index, feature), correlations) for feature in batch]
            text = to_json({**head, "features": rows})
            (temporary / f"batch-{number}.json").write_text(text, encoding="utf-8")
    return Path(folder)


def batches(features: Sequence[int] | None, n_features: int, per_file: int) -> Iterator[Sequence[int]]:
    """The features of each file."""
    chosen = range(n_features) if features is None else features
    for start in range(0, len(chosen), per_file):
        yield chosen[start : start + per_file]


def feature_row(feature: Feature, correlations: Correlations) -> dict[str, Any]:
    """One of a file's `features`."""
    meta = feature.index.meta
    return {
        "feature_index": feature.feature,
        **description(feature, correlations),
        "n_prompts_total": meta["n_contexts"],
        "n_tokens_in_prompt": meta["context_length"],
        "dataset": meta["corpus_id"],
        "activations": [row for shown in bins(feature) for row in _sequences(shown)],
        "vector": [],
    }


def _sequences(shown: Bin) -> Iterator[dict[str, Any]]:
    for example in shown.examples:
        yield {
            "bin_min": -1 if shown.lo is None else shown.lo,
            "bin_max": shown.hi,
            "bin_contains": -1 if shown.share is None else shown.share,
            "tokens": example.text,
            "values": example.activations.tolist(),
            "qualifying_token_index": example.peak,
        }
