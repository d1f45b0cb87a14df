"""The workspace as requests see it: the store, the files beside it, and 404s for what is not there."""

import re
import threading
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from fastapi import Request
from jaxtyping import Int
from starlette.concurrency import run_in_threadpool

from store import Catalog, FeatureStore, Relation
from store.names import full_names
from web.circuits import Circuits
from web.errors import ProblemError
from web.files import Changed, state_of
from web.metrics import Metrics
from web.search import FOUND, conditions
from web.unlearning import Interventions

Row = dict[str, Any]
DEFAULT_ORDER = "max_activation desc"
_SAID = re.compile("label|explanation|score", re.IGNORECASE)
_CHANGING = {"label", "explanation", "explanation_score"}
_BULKY = {"q", "suppressed", "top_token_id"}


class Workspace:
    """One per app. Indexes never change under their names, so what is read of one may be kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self.circuits = Circuits(path)
        self.interventions = Interventions(path)
        self._metrics = Metrics()
        self._kept_found = lru_cache(maxsize=64)(self._found)
        self._kept_count = lru_cache(maxsize=256)(self._count)
        self._kept_features = lru_cache(maxsize=4)(self._features)

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
        path = self.path / "saes" / sae_id / "config.yaml"
        return _config(path, state_of(path))

    def metrics(self, sae_id: str) -> list[Row]:
        """An SAE's training metrics so far."""
        return self._metrics.read(self.path / "saes" / sae_id / "metrics.jsonl")

    def trained(self, sae_id: str) -> bool:
        """Whether the SAE's weights are there."""
        return (self.path / "saes" / sae_id / "sae.safetensors").exists()

    def selection(self, sae_id: str, corpus: str, filter: str, order: str, search: str = "") -> Relation:
        """Features by a filter, a search and an order, in which columns may go by their short names; ties by number.
        Without an order, the best found come first, or else the strongest.

        Raises:
            StoreError: one of them cannot be read.
        """
        if search:
            relation = self.store.search(sae_id, corpus, **conditions(search))  # type: ignore[arg-type]
        else:
            relation = self.store.described(sae_id, corpus)
        if filter:
            relation = relation.filter(full_names(filter))
        if search and not order:
            return relation
        by = full_names(order) or DEFAULT_ORDER
        return relation.order(by).order(f"{by}, feature")

    def found(self, index: Row, filter: str, order: str, search: str = "") -> pa.Table:
        """The numbers of the features of a list, in its order (`feature`), beside what they were found by. Kept, unless
        what people or explainers say chooses the list: that changes.

        Raises:
            StoreError: filter, order or search cannot be read.
        """
        said = _SAID.search(f"{filter} {order}") or (search and "text" in conditions(search))
        read = self._found if said else self._kept_found
        return read(index["path"], index["sae_id"], index["corpus_id"], filter, order, search)

    def listing(self, index: Row, filter: str, order: str, search: str = "") -> Int[np.ndarray, " kept"]:
        """The numbers alone."""
        return self.found(index, filter, order, search)["feature"].to_numpy()

    def count(self, index: Row, filter: str) -> int:
        """How many features an index's statistics let through. Kept."""
        return self._kept_count(index["path"], index["sae_id"], index["corpus_id"], filter)

    def features(self, index: Row) -> pa.Table:
        """Statistics of all features of an index by number, but for long lists and what people say. Kept: a row is
        looked up in microseconds, a column read at once.
        """
        return self._kept_features(index["path"], index["sae_id"], index["corpus_id"])

    def _found(self, _path: str, sae_id: str, corpus: str, filter: str, order: str, search: str) -> pa.Table:
        """The list, read now; `_path` names the content in the cache's key, here and below."""
        by = [column for kind in (conditions(search) if search else ()) for column in FOUND[kind]]
        return self.selection(sae_id, corpus, filter, order, search).select("feature", *by).arrow()

    def _count(self, _path: str, sae_id: str, corpus: str, filter: str) -> int:
        relation = self.store.described(sae_id, corpus)
        return (relation.filter(filter) if filter else relation).count()

    def _features(self, _path: str, sae_id: str, corpus: str) -> pa.Table:
        relation = self.store.described(sae_id, corpus)
        return relation.order("feature").select(*(c for c in relation.columns if c not in _BULKY | _CHANGING)).arrow()


async def workspace(request: Request) -> Workspace:
    """The app's workspace, for FastAPI to inject."""
    return request.app.state.workspace


@lru_cache(maxsize=64)
def _config(path: Path, _changed: Changed | None) -> Row:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return data if isinstance(data, dict) else {}
