"""Maps of an SAE's decoder directions: a point of the plane for each feature, in `maps/<sae>.<weights>.parquet`.

A map belongs to the weights that it was drawn from, whose hash is in its name: one of other weights is never shown.
What draws it is `saebench map`; the store only keeps it.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from store.errors import StoreError, explained
from store.files import write_atomically
from store.workspace import check_id

_PROVENANCE = b"saebench"


@dataclass(frozen=True)
class Map:
    """Where each feature lies.

    Attributes:
        points: float32[features, 2]; near to each other are features with similar decoder rows. The axes mean nothing.
        provenance: what it was drawn from, and how.
    """

    points: NDArray[np.float32]
    provenance: dict[str, Any]


def find_map(workspace: Path, sae: str) -> Map | None:
    """The map of an SAE's weights as they are now; None if it has not been drawn.

    Raises:
        StoreError: the weights are missing, or the map cannot be read.
    """
    path = map_path(workspace, sae)
    if not path.exists():
        return None
    with explained("cannot read", path):
        table = pq.read_table(path)
    found = (table.schema.metadata or {}).get(_PROVENANCE)
    if found is None or table.column_names != ["feature", "x", "y"]:
        raise StoreError(f"{path} is no map; delete it and run `saebench map --sae {sae}`")
    return Map(np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1), json.loads(found))


def write_map(workspace: Path, sae: str, found: Map) -> Path:
    """Keep the map of an SAE's weights as they are now, instead of the one there is; the whole file or none.

    Raises:
        StoreError: the weights are missing, or the file cannot be written.
    """
    path = map_path(workspace, sae)
    columns = {"feature": np.arange(len(found.points), dtype=np.int32)}
    columns |= {name: np.ascontiguousarray(found.points[:, axis]) for axis, name in enumerate("xy")}
    table = pa.table(columns).replace_schema_metadata({_PROVENANCE: json.dumps(found.provenance, sort_keys=True)})
    with explained("cannot write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))
    return path


def map_path(workspace: Path, sae: str) -> Path:
    """Where the map of an SAE's weights as they are now lies, or would lie.

    Raises:
        StoreError: there are no weights.
    """
    return workspace / "maps" / f"{check_id(sae)}.{weights_sha256(workspace, sae)[:12]}.parquet"


def weights_sha256(workspace: Path, sae: str) -> str:
    """The hash of an SAE's weights, in hexadecimal; read again only when the file has changed.

    Raises:
        StoreError: there are none.
    """
    path = workspace / "saes" / check_id(sae) / "sae.safetensors"
    with explained("cannot read", path):
        stat = path.stat()
        return _sha256(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _sha256(path: Path, _time: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
