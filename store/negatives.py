"""Hard negatives: texts on which similar features are strong and this one is silent in the whole context.

An explanation that only names what the neighbours share fails on them, random texts it would pass. Neighbours are the
nearest decoder rows and the features most often active on the same tokens (by Jaccard), taken in turn; each offers its
strongest examples, strongest first, and those in whose context the feature is active anywhere are left out. A feature
that is active in all of them (a dense one) has none.
"""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from store.coactivation import PARTNERS
from store.examples import TOP
from store.sorting import SortedCodes

NEGATIVES = 16
"""Hard negatives kept per feature."""
NEIGHBOURS = 4
"""Neighbours of each kind that offer their examples."""


def by_jaccard(pieces: Iterable[pa.Table], n_features: int) -> NDArray[np.int64]:
    """int64[features, PARTNERS]: partners by falling Jaccard, -1 for none."""
    out = np.full((n_features, PARTNERS), -1, np.int64)
    for rows in pieces:
        chosen = rows.filter(pa.compute.equal(rows["measure"], "jaccard"))
        out[chosen["feature"].to_numpy(), chosen["rank"].to_numpy()] = chosen["partner"].to_numpy()
    return out


def tops(pieces: Iterable[pa.Table], n_features: int) -> tuple[NDArray[np.int64], NDArray[np.int16]]:
    """Places int64[features, TOP] of the strongest examples, -1 for none, and their activations."""
    places, halves = np.full((n_features, TOP), -1, np.int64), np.zeros((n_features, TOP), np.int16)
    for examples in pieces:
        chosen = examples.filter(pa.compute.equal(examples["band"], 0))
        at = chosen["feature"].to_numpy(), chosen["rank"].to_numpy()
        places[at], halves[at] = chosen["place"].to_numpy(), chosen["half"].to_numpy()
    return places, halves


def neighbours_in_turn(kinds: list[NDArray[np.int64]], n_features: int) -> NDArray[np.int64]:
    """int64[features, kinds · NEIGHBOURS], the kinds' neighbours in turn; -1 for none and for those named before.

    Args:
        kinds: int64[features, n] each, nearest first, -1 for none.
        n_features: rows of each.
    """
    width = NEIGHBOURS * len(kinds)
    turns = np.full((n_features, width), -1, np.int64)
    for i, kind in enumerate(kinds):
        taken = kind[:, :NEIGHBOURS]
        turns[:, i : i + len(kinds) * taken.shape[1] : len(kinds)] = taken
    for i in range(1, width):
        turns[(turns[:, :i] == turns[:, i : i + 1]).any(1), i] = -1
    return turns


def negative_table(
    codes: SortedCodes, neighbours: NDArray[np.int64], tops: NDArray[np.int64], halves: NDArray[np.int16], length: int
) -> pa.Table:
    """The rows of the table `negative`, in order of feature and rank.

    Args:
        codes: all codes.
        neighbours: int64[features, k], who offers examples to whom, in order; -1 for none.
        tops: int64[features, n], places of each feature's strongest examples, strongest first; -1 for none.
        halves: int16[features, n], the activations there.
        length: tokens per context.
    """
    found = [_negatives(codes, feature, near, tops, halves, length) for feature, near in enumerate(neighbours)]
    counts = np.array([len(places) for _, places, _ in found])
    features = np.repeat(np.arange(len(found), dtype=np.int32), counts)
    ranks = [np.arange(n, dtype=np.int16) for n in counts]
    near, places, half = (np.concatenate([row[i] for row in found]) for i in range(3))
    columns = {"neighbour": near.astype(np.int32), "place": places, "half": half}
    return pa.table({"feature": features, "rank": np.concatenate(ranks), **columns})


def _negatives(
    codes: SortedCodes,
    feature: int,
    near: NDArray[np.int64],
    tops: NDArray[np.int64],
    halves: NDArray[np.int16],
    length: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int16]]:
    """(neighbour, place, half): the neighbours' examples in turns, of one context only the first."""
    near = near[near >= 0]
    places = tops[near].T.ravel()
    offered = np.flatnonzero(places >= 0)
    who, where, half = np.tile(near, tops.shape[1])[offered], places[offered], halves[near].T.ravel()[offered]
    context = where // length
    own = codes.places[codes.bounds[feature] : codes.bounds[feature + 1]]
    silent = np.searchsorted(own, context * length) == np.searchsorted(own, (context + 1) * length)
    first = np.zeros(len(context), bool)
    first[np.unique(context, return_index=True)[1]] = True
    kept = np.flatnonzero(silent & first)[:NEGATIVES]
    return who[kept], where[kept], half[kept]
