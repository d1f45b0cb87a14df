"""Tasks on docstrings: which parameter comes next."""

from saebench.circuits.tasks.generator import Draw, Generator, either
from saebench.circuits.tasks.pairs import Pair
from saebench.circuits.tasks.words import FUNCTIONS, NOUNS, VARIABLES


def _sphinx(draw: Draw) -> Pair:
    function, noun = draw.word(FUNCTIONS), draw.word(NOUNS)
    a, b = draw.words(VARIABLES, 2)
    return either(
        draw,
        lambda one: f'    def {function}(self, {one}):\n        """Return the {noun}.\n\n        :param',
        (a, f" {a}"),
        (b, f" {b}"),
    )


def _google(draw: Draw) -> Pair:
    function, noun = draw.word(FUNCTIONS), draw.word(NOUNS)
    a, b = draw.words(VARIABLES, 2)
    return either(
        draw,
        # Byte-level BPE gives the last space of an indent to the word behind it.
        lambda one: f'    def {function}(self, {one}):\n        """Return the {noun}.\n\n        Args:\n           ',
        (a, f" {a}"),
        (b, f" {b}"),
    )


def _type(draw: Draw) -> Pair:
    function, noun = draw.word(FUNCTIONS), draw.word(NOUNS)
    a, b = draw.words(VARIABLES, 2)
    return either(
        draw,
        lambda one: (
            f'    def {function}(self, {a}, {b}):\n        """Return the {noun}.\n\n'
            f"        :param {one}: the {noun}\n        :type"
        ),
        (a, f" {a}"),
        (b, f" {b}"),
    )


def _third(draw: Draw) -> Pair:
    """Words as if drawn from a hat, so that nothing but the signature tells which comes next."""
    function = draw.word(FUNCTIONS)
    a, b, c, d, e = draw.words(VARIABLES, 5)
    m, n, o, p, q, r, s = draw.words(NOUNS, 7)
    return either(
        draw,
        lambda third: (
            f'def {function}(self, {a}, {b}, {third}, {e}):\n    """{m} {n} {o}\n\n'
            f"    :param {a}: {p} {q}\n    :param {b}: {r} {s}\n    :param"
        ),
        (c, f" {c}"),
        (d, f" {d}"),
    )


DOCSTRING_PARAM = Generator(
    "docstring-param", "document the parameter: def f(self, a): … :param → a", "demo", True, _sphinx
)
DOCSTRING_ARGS = Generator(
    "docstring-args", "document the parameter in Google's style: def f(self, a): … Args: → a", "demo", True, _google
)
DOCSTRING_TYPE = Generator(
    "docstring-type", "the type of what was documented last: :param a: … :type → a", "demo", True, _type
)
DOCSTRING = Generator(
    "docstring",
    "the third of four parameters, after Heimersheim & Janiak 2023: def f(self, a, b, c, e): … :param → c",
    "hub",
    True,
    _third,
)
