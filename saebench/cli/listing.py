"""Tables of what a workspace keeps by name; a damaged file is told below and keeps nobody from the others."""

from collections.abc import Callable, Iterable, Sequence

from rich.table import Column, Table
from rich.text import Text

from saebench.cli.progress import console
from saebench.errors import UserError


def print_kept(
    columns: Iterable[str | Column], ids: Sequence[str], row: Callable[[str], Iterable[str]], nothing: str
) -> None:
    """Print a row for everything that can be read, then one line for everything that cannot.

    Args:
        columns: their names or more of them, that of the ids first.
        ids: what is there.
        row: the cells of one of them; raises UserError if it is damaged.
        nothing: what is said instead where nothing is there.
    """
    if not ids:
        console.print(nothing, markup=False)
        return
    table, damaged = Table(*columns, box=None), []
    table.columns[0].no_wrap = True  # an id is there to be typed
    for kept_id in ids:
        try:
            table.add_row(*map(Text, row(kept_id)))
        except UserError as error:
            damaged.append(str(error))
    if table.row_count:
        console.print(table)
    for problem in damaged:
        console.print(problem, markup=False)
