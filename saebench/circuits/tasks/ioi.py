"""Indirect object identification (Wang et al. 2022): who is given the thing.

The subject stands twice, the indirect object once: `When Mary and John went to the store, John gave a drink to` Mary.
Patched, the indirect object stands in the subject's second place, so that the other name is right. In `ioi-abc` three
other names stand in the three places and neither answer has been named: what is then left of the preference is none of
the circuit's doing.
"""

from functools import partial

from saebench.circuits.tasks.generator import Draw, Generator
from saebench.circuits.tasks.pairs import Pair
from saebench.circuits.tasks.words import NAMES, PLACES, THINGS

TEMPLATES = (
    "Then, {first} and {second} went to the {place}. {giver} gave a {thing} to",
    "Then, {first} and {second} had a lot of fun at the {place}. {giver} gave a {thing} to",
    "Then, {first} and {second} were working at the {place}. {giver} decided to give a {thing} to",
    "When {first} and {second} got a {thing} at the {place}, {giver} decided to give it to",
    "After {first} and {second} went to the {place}, {giver} gave a {thing} to",
    "While {first} and {second} were walking to the {place}, {giver} gave a {thing} to",
)
SPACED = (" ",)
"""The words stand behind spaces only."""


def _swap(draw: Draw, templates: tuple[str, ...], orders: tuple[str, ...]) -> Pair:
    fill = _scene(draw, templates)
    a, b = draw.words(NAMES, 2, SPACED)
    first, second = (a, b) if draw.random.choice(orders) == "ABBA" else (b, a)
    return Pair(
        clean=fill(first=first, second=second, giver=b),
        patch=fill(first=first, second=second, giver=a),
        answer=f" {a}",
        wrong=f" {b}",
    )


def _others(draw: Draw, templates: tuple[str, ...], orders: tuple[str, ...]) -> Pair:
    fill = _scene(draw, templates)
    a, b, c, d, e = draw.words(NAMES, 5, SPACED)
    first, second = (a, b) if draw.random.choice(orders) == "ABBA" else (b, a)
    return Pair(
        clean=fill(first=first, second=second, giver=b),
        patch=fill(first=c, second=d, giver=e),
        answer=f" {a}",
        wrong=f" {b}",
    )


def _scene(draw: Draw, templates: tuple[str, ...]) -> "partial[str]":
    template = draw.random.choice(templates)
    return partial(template.format, place=draw.word(PLACES, SPACED), thing=draw.word(THINGS, SPACED))


ABBA, BABA, BOTH = ("ABBA",), ("BABA",), ("ABBA", "BABA")

IOI = Generator(
    "ioi",
    "the indirect object: When Mary and John went …, John gave … to → Mary",
    "hub",
    False,
    partial(_swap, templates=TEMPLATES, orders=BOTH),
)
IOI_ABBA = Generator(
    "ioi-abba",
    "the indirect object in one sentence, itself named first",
    "hub",
    True,
    partial(_swap, templates=TEMPLATES[:1], orders=ABBA),
)
IOI_BABA = Generator(
    "ioi-baba",
    "the indirect object in one sentence, the subject named first",
    "hub",
    True,
    partial(_swap, templates=TEMPLATES[:1], orders=BABA),
)
IOI_ABC = Generator(
    "ioi-abc",
    "the indirect object, patched with three other names: neither answer is right there",
    "hub",
    False,
    partial(_others, templates=TEMPLATES, orders=BOTH),
)
