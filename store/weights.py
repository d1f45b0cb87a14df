"""The decoder rows of a workspace's SAEs, read by safetensors' own NumPy reader: the store needs no torch for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.errors import StoreError
from store.workspace import check_id

_NUMBERS_AT_ONCE = 1 << 23


def decoder_rows(workspace: Path, sae: str) -> NDArray[np.float32]:
    """float32[M, D], the decoder rows of an SAE, each of length 1 (rows of zeros stay so).

    Raises:
        StoreError: the weights are missing, damaged, or hold no `W_dec` that NumPy can read.
    """
    with _decoder(workspace, sae) as stored:
        return _unit(stored[:])


def nearest_rows(workspace: Path, sae: str, row: NDArray[np.float32], n: int) -> list[tuple[int, float]]:
    """The n decoder rows of an SAE nearest to a row of length 1, and their cosines, largest first; the lower number
    first among equals. Reads some rows at a time.

    Raises:
        StoreError: as for `decoder_rows`, or the rows are of another width.
    """
    cosines = []
    with _decoder(workspace, sae) as stored:
        n_rows, width = stored.get_shape()
        if width != len(row):
            raise StoreError(f"{sae} has decoder rows of width {width}, this feature one of width {len(row)}")
        step = max(_NUMBERS_AT_ONCE // max(width, 1), 1)
        for first in range(0, n_rows, step):
            rows = _unit(stored[first : min(first + step, n_rows)])
            cosines.append(np.einsum("id,d->i", rows, row))  # row by row, so that equal rows have equal cosines
    cosine = np.concatenate([np.zeros(0, np.float32), *cosines])
    order = np.argsort(-cosine, kind="stable")[: max(int(n), 0)]
    return list(zip(order.tolist(), cosine[order].tolist(), strict=True))


def decoder_row(workspace: Path, sae: str, feature: int) -> NDArray[np.float32]:
    """float32[D], one decoder row, of length 1 unless it is zero.

    Raises:
        StoreError: as for `decoder_rows`, or there is no such row.
    """
    with _decoder(workspace, sae) as stored:
        if feature >= stored.get_shape()[0]:
            raise StoreError(
                f"{sae} has {stored.get_shape()[0]} features, its index more; run `saebench index --sae {sae}` again"
            )
        return _unit(stored[feature : feature + 1])[0]


@contextmanager
def _decoder(workspace: Path, sae: str) -> Iterator[Any]:
    """The slices of `W_dec`, of two dimensions."""
    from safetensors import SafetensorError, safe_open

    check_id(sae)
    path = workspace / "saes" / sae / "sae.safetensors"
    if not path.is_file():
        raise StoreError(f"there is no {path}; comparing two SAEs needs the weights of both")
    try:
        with safe_open(path, framework="numpy") as file:
            stored = file.get_slice("W_dec")
            if len(stored.get_shape()) != 2:
                raise ValueError(f"it has {len(stored.get_shape())} dimensions instead of 2")
            yield stored
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise StoreError(f"cannot read W_dec of {path}: {error}; copy or train the SAE again") from None


def _unit(rows: NDArray[Any]) -> NDArray[np.float32]:
    rows = rows.astype(np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms > 0, norms, 1))
