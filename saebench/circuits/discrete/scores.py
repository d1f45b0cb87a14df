"""Scores of heads and of pairs of heads: how much of what they say they say in one kind of prompt only."""

import numpy as np
from jaxtyping import Float, Int


def node_counts(
    positive: Int[np.ndarray, "examples heads"], negative: Int[np.ndarray, "others heads"], per_union: bool = False
) -> Float[np.ndarray, " heads"]:
    """How many codes each head has in positive examples and in no negative one.

    With `per_union` as a share of all the codes that the head has in either.
    """
    return np.array([_only_first(a, b, per_union) for a, b in zip(positive.T, negative.T, strict=True)], np.float64)


def edge_counts(
    positive: Int[np.ndarray, "examples heads"],
    negative: Int[np.ndarray, "others heads"],
    pairs: list[tuple[int, int]],
    per_union: bool = False,
) -> Float[np.ndarray, " pairs"]:
    """How many pairs of codes two heads have together in positive examples and in no negative one.

    A pair of codes is one number, so a pair of heads takes a sort of as many numbers as there are examples; nothing of
    the size heads² · latents² is made.
    """
    base = 1 + max(int(positive.max(initial=0)), int(negative.max(initial=0)))

    def together(codes: Int[np.ndarray, "examples heads"], a: int, b: int) -> Int[np.ndarray, " examples"]:
        joint: np.ndarray = codes[:, a] * base + codes[:, b]
        return joint

    return np.array(
        [_only_first(together(positive, a, b), together(negative, a, b), per_union) for a, b in pairs], np.float64
    )


def _only_first(first: Int[np.ndarray, " n"], second: Int[np.ndarray, " m"], per_union: bool) -> float:
    only = len(np.setdiff1d(first, second))
    return only / max(len(np.union1d(first, second)), 1) if per_union else only


def softmax(counts: Float[np.ndarray, " heads"]) -> Float[np.ndarray, " heads"]:
    """The counts as shares that add up to 1, in the order of the counts."""
    shares: np.ndarray = np.exp(counts - counts.max(initial=0))
    return shares / shares.sum()
