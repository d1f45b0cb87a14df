"""Features and strengths as a link has them: `12:4,33:-2`, and `other-sae/7:1` for a feature of another SAE.

A strength is in maxima: 1 adds to every token what the feature writes when it fires as strongly as anywhere in the
corpus. An id is percent-encoded, so that it may hold anything.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote, unquote

from web.errors import ProblemError

MOST_FEATURES = 20
STRONGEST = 100.0

_WISH = re.compile(
    r"(?:(?P<sae>[^/:,]+)/)?(?P<feature>\d{1,9}):(?P<strength>[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)", re.I
)


class Wish(NamedTuple):
    """A feature and how strongly it is to be added, in its own maxima."""

    sae: str
    feature: int
    strength: float


def read_wishes(text: str, sae: str) -> list[Wish]:
    """The wishes that a link holds; those without an id are of `sae`. Raises ProblemError 422 for what is none."""
    wishes: list[Wish] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = _WISH.fullmatch(part)
        if not found:
            cause = f"features: {part[:80]!r} is not a feature and a strength."
            raise ProblemError(422, "That cannot be read", cause, "Write 12:4, or other-sae/12:4 for another SAE.")
        wish = Wish(unquote(found["sae"]) if found["sae"] else sae, int(found["feature"]), float(found["strength"]))
        if not abs(wish.strength) <= STRONGEST:
            cause = f"features: the strength of feature {wish.feature} is {wish.strength:g}."
            raise ProblemError(422, "Too strong", cause, f"Strengths are from −{STRONGEST:g} to {STRONGEST:g} maxima.")
        if any((wish.sae, wish.feature) == (other.sae, other.feature) for other in wishes):
            cause = f"features: feature {wish.feature} is there twice."
            raise ProblemError(422, "That cannot be read", cause, "Give it one strength.")
        wishes.append(wish)
    if len(wishes) > MOST_FEATURES:
        raise ProblemError(
            422, "Too many", f"features: {len(wishes)} are given; {MOST_FEATURES} can be steered at once."
        )
    return wishes


def write_wishes(wishes: Iterable[Wish], sae: str) -> str:
    """The same as a link has them."""
    return ",".join(
        f"{'' if wish.sae == sae else quote(wish.sae, safe='') + '/'}{wish.feature}:{wish.strength:g}"
        for wish in wishes
    )
