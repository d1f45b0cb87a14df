"""Confounded data for the demo model: what code of the standard library is about, and whether it speaks of `self`.

The confound: pieces of code with `self` in them at least `LEAST_SELF` times, or without it. It is written in few
features.
"""

import re

from saebench.circuits.shift.examples import ShiftData
from saebench.circuits.shift.pieces import by_topic

LEAST_SELF = 3


def topic_self(train: int = 150, test: int = 100, seed: int = 0) -> ShiftData:
    """Examples of the standard library: at most so many of each combination for training and for judging."""
    return by_topic(
        "topic-self",
        "code of modules about Python itself or about networks; without `self`, or with much of it",
        ("functions", "methods"),
        lambda code, _prose: (
            [text for text in code if not re.search(r"\b(self|cls)\b", text)],
            [text for text in code if len(re.findall(r"\bself\b", text)) >= LEAST_SELF],
        ),
        train,
        test,
        seed,
    )
