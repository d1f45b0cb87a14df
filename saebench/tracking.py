"""How far something is, told to whoever wants to know."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

Track = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""(what is done, how many steps) → a function that is told how many are."""


def silent(_what: str, _total: int) -> AbstractContextManager[Callable[[int], None]]:
    """A `Track` that tells nobody."""
    return nullcontext(lambda _done: None)
