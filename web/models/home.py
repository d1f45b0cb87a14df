"""The home page as data."""

from typing import Any, Literal

from pydantic import BaseModel, Field


class Row(BaseModel):
    """One entry of the home page, with its catalogue information."""

    id: str
    summary: str
    headline: list[tuple[str, str]] = []
    info: dict[str, Any] = {}


class HomePage(BaseModel):
    """What a workspace holds."""

    workspace: str
    runs: list["Run"]
    models: list[Row]
    saes: list[Row]
    indexes: list[Row]
    harvests: list[Row]
    corpora: list[Row]


class Run(BaseModel):
    """A training that is not finished: its last figures."""

    sae: str
    state: Literal["running", "stopped"] = Field(description="stopped: no figures for longer than they usually take")
    step: int
    tokens: int
    of_tokens: int | None = Field(description="when it will be finished")
    tokens_per_second: float | None
    seconds_left: float | None
    loss: float | None
    fvu: float | None
    l0: float | None
    dead: float | None = Field(description="share of latents")
    losses: list[float] = Field(description="the loss so far, evenly thinned, oldest first")


class Runs(BaseModel):
    """Trainings that are not finished, the latest first."""

    runs: list[Run]
