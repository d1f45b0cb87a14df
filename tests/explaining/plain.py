"""A half built by hand, and patterns matched by plain loops."""

import numpy as np

from saebench.explaining.halves import WINDOW, Half


def half_of(segments: list[list[int]], n_vocabulary: int) -> Half:
    """A half of some segments."""
    start, void = n_vocabulary, n_vocabulary + 1
    tokens, ordinary = [], []
    for segment in segments:
        tokens += [void] * (WINDOW - 1) + [start] + segment
        ordinary += [False] * WINDOW + [True] * len(segment)
    return Half(np.array(tokens, np.int32), np.array(ordinary), len(segments), start, void)


def matches(half: Half, pattern) -> set[int]:
    """Slots at which a pattern ends, one slot and one test at a time."""
    found = set()
    for slot in range(len(half.tokens)):
        if half.ordinary[slot]:
            near = [int(half.tokens[slot - offset]) for offset in range(len(pattern))]
            if all(test is None or token in test for token, test in zip(near, pattern, strict=True)):
                found.add(slot)
    return found
