"""Staging what explains the strongest examples of an SAE of attention outputs: how much of each comes from which token.

The output of an attention layer is a sum over heads and source positions, so a feature's pre-activation is one too, but
for its biases (direct feature attribution; Kissane et al. 2024, "Interpreting Attention Layer Outputs with Sparse
Autoencoders"). The terms need the model, so whoever encodes computes them, after all codes are staged: which examples
will be the strongest is known only then.

Decisions:
- The strongest examples are found part by part. A text that is among the n best of all is among the n best of its part,
  and a code that does not exceed what a feature already has n of cannot enter; so little is ever sorted twice.
- Files of a folder of their own, one per run of contexts, each written in one step: a killed process does again only
  what was under way. What is there is taken only if it stands for just the examples asked for.
- A row holds every source position up to the example, in full precision, so that the terms can be added up again, and
  the sums over them by head; the terms of each head and position would take the number of heads times the space.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from store.errors import StoreError, explained
from store.examples import first_of_each
from store.files import write_atomically
from store.positions import flat, hashes_around
from store.staging import Part, lists, read, write_table

FOLDER = "attributions"


@dataclass(frozen=True)
class Unattributed:
    """Some contexts, and those of the features' strongest examples that lie in them, by place.

    Attributes:
        path: the file that stands for them when they are attributed.
        tokens: int32[n, L], token ids of the contexts.
        row: int64[e], in which of the n contexts each example lies; position: int64[e], where in it.
        feature: int32[e]; rank: int16[e], 0 for a feature's strongest; place: int64[e].
    """

    path: Path
    tokens: NDArray[np.int32]
    row: NDArray[np.int64]
    position: NDArray[np.int64]
    feature: NDArray[np.int32]
    rank: NDArray[np.int16]
    place: NDArray[np.int64]


@dataclass(frozen=True)
class _Ranked:
    """Codes with a hash of the tokens around each, sorted by feature and falling value, the earliest first if tied."""

    feature: NDArray[np.int32]
    half: NDArray[np.int16]
    place: NDArray[np.int64]
    around: NDArray[np.uint64]

    def __getitem__(self, kept: NDArray[Any]) -> "_Ranked":
        return _Ranked(self.feature[kept], self.half[kept], self.place[kept], self.around[kept])

    def and_also(self, other: "_Ranked") -> "_Ranked":
        """These codes and others behind them."""
        return _Ranked(
            np.concatenate([self.feature, other.feature]),
            np.concatenate([self.half, other.half]),
            np.concatenate([self.place, other.place]),
            np.concatenate([self.around, other.around]),
        )

    @property
    def rank(self) -> NDArray[np.int64]:
        """0, 1, 2 … within a feature."""
        return np.arange(len(self.feature)) - np.searchsorted(self.feature, self.feature)


def strongest(parts: list[Part], length: int, n_features: int, n: int) -> _Ranked:
    """Up to n codes of every feature: those that will be its strongest examples, as `store.examples` chooses them."""
    best = _Ranked(np.zeros(0, np.int32), np.zeros(0, np.int16), np.zeros(0, np.int64), np.zeros(0, np.uint64))
    for part in parts:
        codes = read(part.codes)
        feature, half, place = (codes[name].to_numpy() for name in ("feature", "half", "place"))
        enough = np.zeros(n_features, np.int16)
        full = best.rank == n - 1
        enough[best.feature[full]] = best.half[full]
        kept = half > enough[feature]
        feature, half, place = feature[kept], half[kept], place[kept]
        contexts, row = np.unique(place // length, return_inverse=True)
        around = hashes_around(_tokens(part, contexts, length))[row, place % length]
        both = best.and_also(_Ranked(feature, half, place, around))
        both = both[np.lexsort((both.place, -both.half, both.feature))]
        both = both[first_of_each(both.feature, both.place // length)]
        both = both[first_of_each(both.feature, both.around)]
        best = both[both.rank < n]
    return best


def _tokens(part: Part, contexts: NDArray[np.int64], length: int) -> NDArray[np.int32]:
    """int32[n, L], the tokens of some contexts of a part."""
    return flat(read(part.contexts)["tokens"]).reshape(-1, length)[contexts - part.start]


def unattributed(
    staging: Path, parts: list[Part], length: int, n_features: int, n: int, contexts_at_once: int
) -> Iterator[Unattributed]:
    """The n strongest examples of every feature that `stage` has not been given yet, some contexts at a time.

    Raises:
        StoreError: a part is damaged, or the folder cannot be written.
    """
    best = strongest(parts, length, n_features, n)
    order = np.lexsort((best.feature, best.place))
    rank, best = best.rank[order].astype(np.int16), best[order]
    contexts = np.unique(best.place // length)
    with explained("cannot write", staging / FOLDER):
        (staging / FOLDER).mkdir(exist_ok=True)
    for first in range(0, len(contexts), contexts_at_once):
        chosen = contexts[first : first + contexts_at_once]
        own = slice(*np.searchsorted(best.place // length, [chosen[0], chosen[-1] + 1]))
        place = best.place[own]
        found = [
            _tokens(part, inside, length)
            for part in parts
            if len(inside := chosen[(chosen >= part.start) & (chosen < part.stop)])
        ]
        some = Unattributed(
            path=staging / FOLDER / f"{first:010d}.parquet",
            tokens=np.concatenate(found),
            row=np.searchsorted(chosen, place // length),
            position=place % length,
            feature=best.feature[own],
            rank=rank[own],
            place=place,
        )
        if not _staged(some):
            yield some


def _staged(some: Unattributed) -> bool:
    """Whether the file is there and stands for just these examples."""
    try:
        found = pq.read_table(some.path, columns=["feature", "rank", "place"], page_checksum_verification=True)
    except (OSError, pa.ArrowException):
        return False
    return found.equals(_examples(some))


def _examples(some: Unattributed) -> pa.Table:
    return pa.table({"feature": some.feature, "rank": some.rank, "place": some.place})


def stage(some: Unattributed, sources: NDArray[np.float32], heads: NDArray[np.float32]) -> None:
    """Write what the examples are made of.

    Args:
        some: the examples.
        sources: float32[sum(position + 1)], the terms of each example's positions 0 … position, end to end.
        heads: float32[e, H], the sums of each example's terms by head.

    Raises:
        StoreError: the arrays do not fit or are not finite, or the disk is full.
    """
    offsets = np.concatenate([[0], np.cumsum(some.position + 1)])
    if sources.shape != (offsets[-1],) or heads.ndim != 2 or len(heads) != len(some.position):
        raise StoreError(f"attributions of shapes {sources.shape} and {heads.shape} do not fit {len(heads)} examples")
    if not (np.isfinite(sources).all() and np.isfinite(heads).all()):
        raise StoreError("an attribution is not finite; look at the model's precision and the SAE's training curves")
    columns = {
        "sources": lists(sources, offsets),
        "heads": lists(heads.ravel(), np.arange(len(heads) + 1) * heads.shape[1]),
    }
    table = _examples(some)
    for name, column in columns.items():
        table = table.append_column(name, column)
    with explained("cannot write", some.path):
        write_atomically(some.path, lambda path: write_table(table, path, "zstd"))


def staged_files(staging: Path) -> list[Path]:
    """The files of what is staged; none for most SAEs."""
    return sorted((staging / FOLDER).glob("*.parquet"))


def digest(staging: Path) -> dict[str, NDArray[np.uint8]]:
    """A hash of everything staged, by the name of the table that it fills.

    Raises:
        StoreError: a file is damaged.
    """
    if not (files := staged_files(staging)):
        return {}
    whole = hashlib.sha256()
    for path in files:
        table = read(path)
        for name in ("feature", "rank", "place"):
            whole.update(table[name].to_numpy().tobytes())
        for name in ("sources", "heads"):
            whole.update(flat(table[name]).tobytes())
    return {"attribution": np.frombuffer(whole.digest(), np.uint8)}
