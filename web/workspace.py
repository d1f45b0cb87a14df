"""The workspace as requests see it: the store, the files beside it, and 404s for what is not there."""

import re
import threading
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from fastapi import Request
from jaxtyping import Float, Int
from starlette.concurrency import run_in_threadpool

from store import Catalog, FeatureStore, Relation
from web.errors import ProblemError
from web.metrics import Metrics

Row = dict[str, Any]
DEFAULT_ORDER = "max_activation desc"
_LABEL = re.compile("label", re.IGNORECASE)


class Workspace:
    """One per app. Indexes never change under their names, so what is read of one may be kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._metrics = Metrics()
        self._kept_listing = lru_cache(maxsize=64)(self._listing)
        self.densities = lru_cache(maxsize=8)(self._densities)

    @property
    def store(self) -> FeatureStore:
        """The feature store, shared by all requests. Raises StoreError where the workspace is gone."""
        with self._lock:
            return self._store

    @cached_property
    def _store(self) -> FeatureStore:
        return FeatureStore.open(self.path, threads=1)

    async def settle(self) -> None:
        """Have what is said of features at hand, so that asking for it does not wait for another process."""
        if self.store.stale:
            await run_in_threadpool(self.store.refresh)

    def saes(self) -> list[Row]:
        """SAEs of the catalogue, of the indexes, and those whose training has begun, by id."""
        rows = {row["id"]: row for row in self.store.saes()}
        for config in (self.path / "saes").glob("*/config.yaml"):
            rows.setdefault(config.parent.name, {"id": config.parent.name, "indexes": []})
        return [rows[sae_id] for sae_id in sorted(rows)]

    def sae(self, sae_id: str) -> Row:
        """One SAE. Raises ProblemError 404."""
        for row in self.saes():
            if row["id"] == sae_id:
                return row
        remedy = "The home page lists those that it holds."
        raise ProblemError(404, "No such SAE", f"This workspace holds no SAE {sae_id!r}.", remedy)

    def index(self, sae_id: str, corpus: str | None) -> Row:
        """An index of an SAE: the one on `corpus`, or the first. Raises ProblemError 404."""
        rows = [row for row in self.store.indexes() if row["sae_id"] == sae_id]
        for row in rows:
            if corpus in (None, row["corpus_id"]):
                return row
        if not rows:
            self.sae(sae_id)
            remedy = f"Make one with: saebench index --sae {sae_id}"
            raise ProblemError(404, "No index", f"SAE {sae_id} has not been indexed.", remedy)
        remedy = f"It has one on: {', '.join(row['corpus_id'] for row in rows)}."
        raise ProblemError(404, "No such index", f"SAE {sae_id} has no index on corpus {corpus!r}.", remedy)

    def catalogued(self, kind: str) -> list[Row]:
        """Entries of the catalogue; a workspace without one has none."""
        return Catalog(self.path).all(kind) if (self.path / "catalog.duckdb").exists() else []

    def config(self, sae_id: str) -> Row:
        """An SAE's config.yaml; empty where there is none."""
        try:
            data = yaml.safe_load((self.path / "saes" / sae_id / "config.yaml").read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            return {}
        return data if isinstance(data, dict) else {}

    def metrics(self, sae_id: str) -> list[Row]:
        """An SAE's training metrics so far."""
        return self._metrics.read(self.path / "saes" / sae_id / "metrics.jsonl")

    def trained(self, sae_id: str) -> bool:
        """Whether the SAE's weights are there."""
        return (self.path / "saes" / sae_id / "sae.safetensors").exists()

    def selection(self, sae_id: str, corpus: str, filter: str, order: str) -> Relation:
        """Features by a filter and an order; ties by number. Raises StoreError for what cannot be read."""
        relation = self.store.features(sae_id, corpus)
        if filter:
            relation = relation.filter(filter)
        return relation.order(order or DEFAULT_ORDER).order(f"{order or DEFAULT_ORDER}, feature")

    def listing(self, index: Row, filter: str, order: str) -> Int[np.ndarray, " kept"]:
        """Numbers of the features of a list, in its order. Kept, unless people's labels choose it: those change.

        Raises:
            StoreError: the filter or the order cannot be read.
        """
        read = self._listing if _LABEL.search(f"{filter} {order}") else self._kept_listing
        return read(index["path"], index["sae_id"], index["corpus_id"], filter, order)

    def _listing(self, _path: str, sae_id: str, corpus: str, filter: str, order: str) -> Int[np.ndarray, " kept"]:
        """The same, read now; `_path` names the content in the cache's key."""
        return self.selection(sae_id, corpus, filter, order).select("feature").arrow()["feature"].to_numpy()

    def _densities(self, _path: str, sae_id: str, corpus: str) -> Float[np.ndarray, " features"]:
        """Density of every feature of an index."""
        return self.store.features(sae_id, corpus).select("density").arrow()["density"].to_numpy()


async def workspace(request: Request) -> Workspace:
    """The app's workspace, for FastAPI to inject."""
    return request.app.state.workspace
