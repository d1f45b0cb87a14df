"""Greater-than (Hanna et al. 2023): a year that is later than another.

Patched, the first year is earlier than `wrong`, which makes it right; `answer` stays right too, as no first year makes
a later one wrong. So on the patched prompt a model should have no preference that the first year could explain.
"""

from saebench.circuits.tasks.generator import Draw, Generator
from saebench.circuits.tasks.ioi import SPACED
from saebench.circuits.tasks.pairs import Pair
from saebench.circuits.tasks.words import EVENTS

CENTURIES = range(11, 18)


def _years(draw: Draw) -> Pair:
    event, century = draw.word(EVENTS, SPACED), draw.random.choice(CENTURIES)
    early, wrong, start, answer = sorted(draw.random.sample(range(2, 99), 4))

    def prompt(year: int) -> str:
        return f"The {event} lasted from the year {century}{year:02} to the year {century}"

    return Pair(clean=prompt(start), patch=prompt(early), answer=f"{answer:02}", wrong=f"{wrong:02}")


GREATER_THAN = Generator(
    "greater-than", "a later year: The war lasted from the year 1741 to the year 17 → 56", "hub", True, _years
)
