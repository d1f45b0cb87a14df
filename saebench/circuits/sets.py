"""Sets of SAEs: one for each site of a model, under a name that circuits refer to. A row of the catalogue."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from saebench.errors import UserError
from store import Catalog

KIND = "set"


class SAESet(BaseModel):
    """Which SAE reads which hook point of one model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    model: dict[str, str]
    """Provenance of the model that all of them read."""
    saes: dict[str, str]
    """Hook point → SAE."""


def keep_set(workspace: Path, set_id: str, model: Mapping[str, str], saes: Mapping[str, str]) -> SAESet:
    """Record a set, instead of one of that name.

    Raises:
        StoreError: an id that cannot be used, or the catalogue cannot be written.
    """
    info: dict[str, Any] = {"model": dict(model), "saes": dict(saes)}
    Catalog(workspace).put(KIND, set_id, info)
    return SAESet(id=set_id, **info)


def find_set(workspace: Path, set_id: str | None = None) -> SAESet:
    """A set of the workspace, or the only one there is.

    Raises:
        UserError: there is none of this name, or several to choose from.
    """
    known = {row["id"]: SAESet.model_validate(row) for row in Catalog(workspace).all(KIND)}
    if set_id is None and len(known) == 1:
        return next(iter(known.values()))
    if set_id is None:
        raise UserError(
            f"workspace {workspace} has several SAE sets ({', '.join(known)}); choose one with --saes"
            if known
            else f"workspace {workspace} has no SAE set; make one with: saebench circuit set configs/demo-circuits.yaml"
        )
    if set_id not in known:
        raise UserError(f"workspace {workspace} has no SAE set {set_id!r}; it has: {', '.join(known) or 'none'}")
    return known[set_id]
