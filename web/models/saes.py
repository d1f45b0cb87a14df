"""An SAE and the table of its features as data."""

from typing import Any

from pydantic import BaseModel, Field

from web.models.features import Histogram


class FeatureRow(BaseModel):
    """One feature in a list."""

    feature: int
    said: str | None = Field(description="its label or else its best explanation; searched for words, what holds them")
    score: float | None = Field(description="of that explanation")
    labelled: bool
    n_active: int
    density: float
    max_activation: float | None
    mean: float | None
    documents_share: float | None
    decoder_norm: float | None
    encoder_decoder_cosine: float | None
    top_token: str | None
    top_token_share: float | None
    nearest: int | None = Field(description="feature whose decoder direction is nearest")
    nearest_cosine: float | None
    promoted: list[str]
    token_share: float | None = Field(None, description="share of its activation on the tokens searched for")
    promotes: float | None = Field(None, description="logit of the promoted token searched for")
    suppresses: float | None = Field(None, description="logit of the suppressed token searched for")


class FeatureList(BaseModel):
    """A window of the features that a filter and a search keep, in an order."""

    sae: str
    corpus: str
    filter: str
    order: str
    search: str
    start: int = Field(description="features before the first of these")
    size: int
    total: int
    columns: dict[str, str] = Field(description="what `filter` and `order` may name, and what it means")
    rows: list[FeatureRow]


class Grid(BaseModel):
    """counts[j][i] values lie in x[i]..x[i + 1] and y[j]..y[j + 1]."""

    x: list[float]
    y: list[float]
    counts: list[list[int]]


class SaePage(BaseModel):
    """An SAE: where it comes from, how it was trained, and its features."""

    id: str
    summary: str
    headline: list[tuple[str, str]]
    trained: bool
    corpora: list[str]
    corpus: str | None
    index: dict[str, Any] | None
    config: dict[str, Any]
    info: dict[str, Any]
    metrics: list[dict[str, Any]]
    density_histogram: Histogram | None
    density_and_max: Grid | None
    norm_histogram: Histogram | None
    cosine_histogram: Histogram | None
    dead: int | None
