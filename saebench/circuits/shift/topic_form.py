"""Confounded data for the demo model: what a piece of the standard library is about, and whether it is code or prose.

The confound: code without docstrings and block comments, or these. It is written in very many features.
"""

from saebench.circuits.shift.examples import ShiftData
from saebench.circuits.shift.pieces import by_topic


def topic_form(train: int = 150, test: int = 100, seed: int = 0) -> ShiftData:
    """Examples of the standard library: at most so many of each combination for training and for judging."""
    return by_topic(
        "topic-form",
        "modules about Python itself or about networks; their code or their docstrings and comments",
        ("code", "prose"),
        lambda code, prose: (code, prose),
        train,
        test,
        seed,
    )
