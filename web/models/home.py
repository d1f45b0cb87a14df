"""The home page as data."""

from typing import Any

from pydantic import BaseModel


class Row(BaseModel):
    """One entry of the home page, with its catalogue information."""

    id: str
    summary: str
    headline: list[tuple[str, str]] = []
    info: dict[str, Any] = {}


class HomePage(BaseModel):
    """What a workspace holds."""

    workspace: str
    saes: list[Row]
    indexes: list[Row]
    harvests: list[Row]
    corpora: list[Row]
