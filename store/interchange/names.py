"""By what names other tools know a model, a layer and an SAE."""

import re
from dataclasses import dataclass
from typing import Any

from store.errors import StoreError
from store.index import Index

_LAYER = re.compile(r"\b(?:blocks|layers|h)\.(\d+)\b")


@dataclass(frozen=True)
class Names:
    """What SAEDashboard and Neuronpedia call things; None: as the index's provenance has it.

    Attributes:
        model: of the language model, as TransformerLens has it, for instance "gpt2-small".
        layer: number of the layer that the SAE reads.
        source_set: the SAE's name without its layer, for instance "res-jb".
    """

    model: str | None = None
    layer: int | None = None
    source_set: str | None = None


def resolved(names: Names, index: Index) -> tuple[str, int, str]:
    """(model, layer, source set), what is not given taken from the index. Letters, digits and '-' in both names.

    Raises:
        StoreError: neither the names nor the index say which model or layer.
    """
    made = index.meta["provenance"]
    sae = made.get("sae", {})
    model = names.model or _model(made.get("model", {}))
    if not model:
        raise StoreError(f"{index.id} does not say which model it is of; name it with --model")
    layer = names.layer if names.layer is not None else sae.get("layer")
    if layer is None:
        found = _LAYER.search(str(sae.get("hook_point", "")))
        if found is None:
            raise StoreError(f"{index.id} does not say which layer its SAE reads; name it with --layer")
        layer = int(found[1])
    return plain(model), int(layer), plain(names.source_set or sae.get("set") or index.meta["sae_id"])


def plain(name: str) -> str:
    """A name that can stand in a URL and a folder's name: every run of anything else becomes '-'."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()


def _model(made: dict[str, Any]) -> str:
    """The last part of a model's name or folder."""
    return str(made.get("name") or made.get("id") or "").rstrip("/").rpartition("/")[2]
