"""Tasks on identifiers of Python source: what was named before is named again."""

from saebench.circuits.tasks.generator import Draw, Generator, either
from saebench.circuits.tasks.pairs import Pair
from saebench.circuits.tasks.words import ALIASES, CLASSES, FUNCTIONS, MODULES, VARIABLES


def _copy(draw: Draw) -> Pair:
    function = draw.word(FUNCTIONS)
    a, b, c, d = draw.words(VARIABLES, 4)
    return either(
        draw,
        lambda second: f"def {function}({a}, {second}):\n    return {d}.{function}({a},",
        (b, f" {b}"),
        (c, f" {c}"),
    )


def _attribute(draw: Draw) -> Pair:
    function, owner = draw.word(FUNCTIONS), draw.word(CLASSES)
    a, b, c = draw.words(VARIABLES, 3)
    return either(
        draw,
        lambda attribute: (
            f"class {owner}:\n    def __init__(self, {a}):\n        self.{attribute} = {a}\n\n"
            f"    def {function}(self):\n        return self."
        ),
        (b, b),
        (c, c),
    )


def _argument(draw: Draw) -> Pair:
    owner = draw.word(CLASSES)
    a, b = draw.words(VARIABLES, 2)
    return either(
        draw, lambda argument: f"class {owner}:\n    def __init__(self, {argument}):\n        self.", (a, a), (b, b)
    )


def _alias(draw: Draw) -> Pair:
    module = draw.word(MODULES)
    x, y = draw.words(ALIASES, 2)
    f, g = draw.words(FUNCTIONS, 2)
    a, b, c = draw.words(VARIABLES, 3)
    return either(
        draw,
        lambda alias: f"import {module} as {alias}\n\n{a} = {alias}.{f}()\n{b} = {alias}.{g}()\n{c} =",
        (x, f" {x}"),
        (y, f" {y}"),
    )


COPY_IDENTIFIER = Generator(
    "copy-identifier", "the second argument as in the signature: def f(a, b): … d.f(a, → b", "demo", True, _copy
)
SELF_ATTRIBUTE = Generator(
    "self-attribute", "the attribute that __init__ sets: self.b = a … return self. → b", "demo", True, _attribute
)
INIT_ARGUMENT = Generator(
    "init-argument", "the argument that becomes an attribute: def __init__(self, a): self. → a", "demo", True, _argument
)
IMPORT_ALIAS = Generator(
    "import-alias", "the name a module is imported as, used twice before: import m as x … c = → x", "demo", True, _alias
)
