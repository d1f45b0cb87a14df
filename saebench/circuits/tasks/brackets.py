"""Tasks on brackets: which one is open."""

from saebench.circuits.tasks.generator import Draw, Generator, either
from saebench.circuits.tasks.pairs import Pair
from saebench.circuits.tasks.words import FUNCTIONS, VARIABLES

ROUND, SQUARE = ("(", ")"), ("[", "]")


def _flat(draw: Draw) -> Pair:
    function = draw.word(FUNCTIONS)
    a, b, c = draw.words(VARIABLES, 3)
    return either(draw, lambda opener: f"def {function}({a}, {b}):\n    {c} = {a}{opener}{b}", ROUND, SQUARE)


def _outer(draw: Draw) -> Pair:
    function = draw.word(FUNCTIONS)
    a, b, c, d = draw.words(VARIABLES, 4)
    inside = draw.random.choice((f"({b})", f"[{b}]"))
    return either(
        draw, lambda opener: f"def {function}({a}, {b}):\n    {c} = {a}{opener}{d}{inside} + 1", ROUND, SQUARE
    )


CLOSE_BRACKET = Generator("close-bracket", "close the open bracket, round or square: a[b → ]", "demo", True, _flat)
CLOSE_OUTER = Generator(
    "close-outer", "close the open bracket behind one that is closed already: a(d[b] + 1 → )", "demo", True, _outer
)
