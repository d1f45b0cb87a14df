"""Lists of features as data."""

from datetime import datetime

from pydantic import BaseModel, Field

from web.models.summary import FeatureSummary


class ListSummary(BaseModel):
    """One of the lists of a workspace."""

    name: str
    description: str
    author: str
    made_at: datetime = Field(description="UTC")
    n_features: int


class Lists(BaseModel):
    """All lists, by name."""

    lists: list[ListSummary]


class ListedFeature(FeatureSummary):
    """A feature on a list."""

    author: str = Field(description="who added it")
    made_at: datetime = Field(description="when it was added; UTC")


class ListPage(BaseModel):
    """A list and its features, in the order of adding."""

    name: str
    description: str
    author: str
    made_at: datetime = Field(description="UTC")
    features: list[ListedFeature]


class NewList(BaseModel):
    """A list to be made."""

    name: str = Field(description="one line of at most 80 characters")
    description: str = Field("", max_length=2000)


class Description(BaseModel):
    """What a list is for."""

    description: str = Field(max_length=2000)
