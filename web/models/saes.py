"""An SAE and the table of its features as data."""

from typing import Any

from pydantic import BaseModel, Field

from web.models.features import Histogram


class FeatureRow(BaseModel):
    """One feature in a list."""

    feature: int
    n_active: int
    density: float
    max_activation: float | None
    mean: float | None
    documents_share: float | None
    decoder_norm: float | None
    encoder_decoder_cosine: float | None
    top_token: str | None
    promoted: list[str]


class FeatureList(BaseModel):
    """One page of the features that a filter keeps, in an order."""

    sae: str
    corpus: str
    filter: str
    order: str
    page: int
    size: int
    total: int
    columns: list[str] = Field(description="what `filter` and `order` may name")
    rows: list[FeatureRow]


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
    dead: int | None
