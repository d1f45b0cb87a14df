"""Answers of the SQL box as data."""

from typing import Any

from pydantic import BaseModel, Field

_NUMBERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UBIGINT", "UINTEGER", "FLOAT", "DOUBLE"}


class Column(BaseModel):
    """A column of a table or an answer."""

    name: str
    type: str = Field(description="DuckDB's name for it")

    @property
    def numeric(self) -> bool:
        """Whether its values are numbers, for a page to align them."""
        return self.type in _NUMBERS


class SqlTable(BaseModel):
    """A table that queries can name."""

    name: str
    columns: list[Column]


class SqlAnswer(BaseModel):
    """The rows of a query. Whole numbers beyond 2⁵³, numbers that are not finite, times and bytes are text."""

    query: str
    sae: str | None = Field(description="whose tables go by their bare names")
    columns: list[Column]
    rows: list[list[Any]]
    more: bool = Field(description="whether rows were left out")
