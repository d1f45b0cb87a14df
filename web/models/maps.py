"""The map of an SAE's decoder directions as data."""

from pydantic import BaseModel, Field

from web.models.jobs import JobPage


class MapPoints(BaseModel):
    """A point for each feature, by number. Near to each other are similar decoder rows; the axes mean nothing."""

    x: list[float]
    y: list[float]
    density: list[float] = Field(description="share of tokens it fires on; empty without an index")
    said: list[str] = Field(description="label, or best explanation, or promoted tokens; empty without an index")


class MapPage(BaseModel):
    """The map, or how far it is with being drawn."""

    sae: str
    corpus: str | None
    points: MapPoints | None
    job: JobPage | None = Field(description="the last that was to draw it")
