"""Choosing the features to intervene on: by attribution (A), firing frequency (B), squared activation (C), or by hand.

Every way gives a list of `Candidate`s, best first, each with what speaks for it; `examples` shows the text behind one,
`excerpts` that of a text which is not indexed.
"""

from saebench.interventions.choosing.attribution import by_attribution
from saebench.interventions.choosing.candidates import Candidate, Excerpt, by_hand, examples, from_list
from saebench.interventions.choosing.excerpts import excerpts
from saebench.interventions.choosing.frequency import by_frequency
from saebench.interventions.choosing.random_like import random_like
from saebench.interventions.choosing.squares import by_squares
from saebench.interventions.choosing.stream import firings_on

__all__ = [
    "Candidate",
    "Excerpt",
    "by_attribution",
    "by_frequency",
    "by_hand",
    "by_squares",
    "examples",
    "excerpts",
    "firings_on",
    "from_list",
    "random_like",
]
