"""Tables of results as Markdown."""

from collections.abc import Iterable, Sequence


def markdown(head: Sequence[str], body: Iterable[Sequence[object]]) -> list[str]:
    """The lines of a table."""
    return [f"| {' | '.join(map(str, cells))} |" for cells in (head, ["---"] * len(head), *body)]
