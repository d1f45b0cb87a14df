"""The staged codes in both orders, in files mapped into memory: by token, as they were staged, and by feature.

Decisions: files rather than arrays, because several processes read them; what the kernel keeps of them in its cache it
can give back. Sorting goes over as many features at once as the memory allows, in place order within a feature.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.counting import by_column
from store.halfs import to_float
from store.staging import Part, read

_CHUNK = 1 << 22
_BYTES_PER_CODE = 48
"""Memory that sorting one code takes at its height."""


@dataclass(frozen=True)
class SortedCodes:
    """Every code twice.

    Attributes:
        token_bounds: int64[places + 1]; the codes at a place are token_bounds[place]:token_bounds[place + 1] of
            token_features (int32, rising), token_halves (int16) and token_values (float32, the same).
        bounds: int64[features + 1]; the codes of a feature are bounds[f]:bounds[f + 1] of places (int64, rising) and
            halves (int16).
        sums, squares: float64[features], of each feature's activations and of their squares.
    """

    token_bounds: NDArray[np.int64]
    token_features: NDArray[np.int32]
    token_halves: NDArray[np.int16]
    token_values: NDArray[np.float32]
    bounds: NDArray[np.int64]
    places: NDArray[np.int64]
    halves: NDArray[np.int16]
    sums: NDArray[np.float64]
    squares: NDArray[np.float64]


def sort_codes(parts: Sequence[Part], n_places: int, n_features: int, memory: int, folder: Path) -> None:
    """Write what `open_codes` opens, using about `memory` bytes."""
    counts = np.zeros(n_features, np.int64)
    per_place = np.zeros(n_places, np.int32)
    length = n_places // parts[-1].stop
    names = ("token_features", "token_values", "token_halves")
    with ExitStack() as stack:
        files = [stack.enter_context((folder / name).open("wb")) for name in names]
        for part in parts:
            codes = read(part.codes)
            feature, half = codes["feature"].to_numpy(), codes["half"].to_numpy()
            here = slice(part.start * length, part.stop * length)
            per_place[here] = np.bincount(codes["place"].to_numpy() - here.start, minlength=here.stop - here.start)
            counts += np.bincount(feature, minlength=n_features)
            for array, file in zip((feature, to_float(half), half), files, strict=True):
                array.tofile(file)
    token_bounds, bounds = _bounds(per_place), _bounds(counts)
    sums, squares = np.zeros(n_features), np.zeros(n_features)
    with (folder / "places").open("wb") as places, (folder / "halves").open("wb") as halves:
        for first, n in runs(bounds, max(memory // _BYTES_PER_CODE, 1), n_features):
            own_bounds, place, half = by_column(*_of_features(folder, token_bounds, first, n))
            place.astype(np.int64).tofile(places)
            half.tofile(halves)
            for i in range(0, n, 256):
                cut = own_bounds[i : i + 257]
                value = to_float(half[cut[0] : cut[-1]]).astype(np.float64)
                group = np.repeat(np.arange(len(cut) - 1), np.diff(cut))
                at = slice(first + i, first + i + len(cut) - 1)
                sums[at] = np.bincount(group, value, len(cut) - 1)
                squares[at] = np.bincount(group, value * value, len(cut) - 1)
    for name, array in (("token_bounds", token_bounds), ("bounds", bounds), ("sums", sums), ("squares", squares)):
        np.save(folder / f"{name}.npy", array)


def open_codes(folder: Path) -> SortedCodes:
    """The sorted codes of a folder."""
    kinds: dict[str, Any] = {"token_features": np.int32, "token_halves": np.int16, "token_values": np.float32}
    kinds |= {"places": np.int64, "halves": np.int16}
    mapped = {name: _mapped(folder / name, kind) for name, kind in kinds.items()}
    loaded = {name: np.load(folder / f"{name}.npy") for name in ("token_bounds", "bounds", "sums", "squares")}
    return SortedCodes(**mapped, **loaded)


def runs(bounds: NDArray[np.int64], n_codes: int, n_features: int) -> Iterator[tuple[int, int]]:
    """(first, n) of consecutive runs of at most n_features features and n_codes codes, or of one feature."""
    first, last = 0, len(bounds) - 1
    while first < last:
        stop = int(np.searchsorted(bounds, bounds[first] + n_codes, side="right")) - 1
        n = max(min(stop, last, first + n_features) - first, 1)
        yield first, n
        first += n


def _of_features(
    folder: Path, token_bounds: NDArray[np.int64], first: int, n: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], int, NDArray[np.int16]]:
    """The codes of n features by token: bounds, features counted from `first`, n, halves."""
    features = _mapped(folder / "token_features", np.int32)
    halves = _mapped(folder / "token_halves", np.int16)
    chosen: list[tuple[NDArray[np.int32], NDArray[np.int16]]] = []
    counts = np.zeros(len(token_bounds) - 1, np.int32)
    start = 0
    while start < len(counts):
        stop = max(int(np.searchsorted(token_bounds, token_bounds[start] + _CHUNK, side="right")) - 1, start + 1)
        here = slice(token_bounds[start], token_bounds[stop])
        own = features[here] - np.int32(first)
        kept = (own >= 0) & (own < n)
        before = np.concatenate([[0], np.cumsum(kept, dtype=np.int64)])
        counts[start:stop] = np.diff(before[token_bounds[start : stop + 1] - here.start])
        chosen.append((own[kept], halves[here][kept]))
        start = stop
    return _bounds(counts), np.concatenate([c[0] for c in chosen]), n, np.concatenate([c[1] for c in chosen])


def _bounds(counts: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])


def _mapped(path: Path, kind: Any) -> NDArray[Any]:
    return np.memmap(path, kind, "r") if path.stat().st_size else np.zeros(0, kind)
