"""Columns of the table of features: which there are, which are shown, how a click on a head sorts."""

from collections.abc import Sequence
from typing import NamedTuple

from web.errors import ProblemError


class Column(NamedTuple):
    """One column of the table."""

    name: str
    """In addresses."""
    column: str
    """Of the store; what a click sorts by."""
    title: str
    hint: str
    kind: str
    """How a cell is shown: number, share, fixed, density, piece, nearest."""
    falling: bool = True
    """Whether the first click puts the largest on top."""


CHOICE = (
    Column("density", "density", "density", "share of tokens it fires on", "density"),
    Column("max", "max_activation", "max", "largest activation", "number"),
    Column("mean", "mean", "mean", "mean activation where it fires", "number"),
    Column("n", "n_active", "tokens", "tokens it fires on", "number"),
    Column("docs", "documents_share", "documents", "share of documents it fires in", "share"),
    Column("token", "top_token", "peak token", "token that carries most of its activation", "piece", False),
    Column("token_share", "top_token_share", "its share", "how much of its activation the peak token carries", "share"),
    Column("norm", "decoder_norm", "norm", "norm of its decoder direction", "number"),
    Column("cosine", "encoder_decoder_cosine", "enc·dec", "cosine between encoder and decoder direction", "fixed"),
    Column("nearest", "nearest_cosine", "nearest", "nearest decoder direction and its cosine", "nearest"),
    Column("score", "explanation_score", "score", "score of the best explanation", "fixed"),
)
"""What may be shown, in the order it is shown in."""

DEFAULT = ("density", "max", "mean", "token")

FOUND = {
    "token": Column("fires", "token_share", "on it", "share of its activation on the tokens searched for", "share"),
    "promoted": Column("promotes", "promotes", "promotes", "logit of the token per unit of activation", "fixed"),
    "suppressed": Column("suppresses", "suppresses", "suppresses", "logit of the token per unit", "fixed", False),
}
"""What a search adds, by what was searched for."""


class Head(NamedTuple):
    """A column's head as it stands now."""

    column: Column
    sorted: str
    """ascending, descending or nothing."""
    order: str
    """What a click asks for."""


def chosen(columns: str, searched: Sequence[str]) -> list[Column]:
    """The columns that an address names, those by default if none, and before them what was searched for.

    Raises:
        ProblemError: 422 for a name that is none.
    """
    names = [name.strip() for name in columns.split(",") if name.strip()] or DEFAULT
    known = {column.name for column in CHOICE}
    for name in names:
        if name not in known:
            cause = f"columns: there is no column {name!r}; there are: {', '.join(c.name for c in CHOICE)}."
            raise ProblemError(422, "That cannot be read", cause)
    found = [FOUND[kind] for kind in searched if kind in FOUND]
    return [*found, *(column for column in CHOICE if column.name in names)]


def toggled(columns: Sequence[Column], column: Column) -> str:
    """What an address has to name for a column to be shown, or not to be shown, besides the others."""
    names = {c.name for c in columns} ^ {column.name}
    kept = [c.name for c in CHOICE if c.name in names]
    return "" if tuple(kept) == DEFAULT else ",".join(kept)


def heads(columns: Sequence[Column], order: str) -> list[Head]:
    """How the columns stand under an order (full names of columns); a second click turns the order round."""
    name, _, direction = order.partition(",")[0].strip().partition(" ")
    falls = direction.strip().lower().startswith("desc")
    out = []
    for column in columns:
        is_sorted = column.column == name
        down = not falls if is_sorted else column.falling
        shown = ("descending" if falls else "ascending") if is_sorted else ""
        out.append(Head(column, shown, f"{column.column} desc" if down else column.column))
    return out
