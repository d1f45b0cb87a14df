"""A feature as data."""

from typing import Any

from pydantic import BaseModel, Field

from web.models.examples import Band, Example


class Histogram(BaseModel):
    """counts[i] values lie in edges[i]..edges[i + 1]."""

    edges: list[float]
    counts: list[int]


class Neighbour(BaseModel):
    """A feature whose decoder direction is close."""

    feature: int
    cosine: float
    promoted: list[str]


class HeadShare(BaseModel):
    """An attention head and its share in the feature's decoder direction."""

    head: int
    share: float


class TokenWeight(BaseModel):
    """A token and the feature's direct effect on its logit."""

    token: str
    value: float


class Stats(BaseModel):
    """Statistics of one feature over the indexed corpus."""

    n_active: int
    density: float
    documents_share: float | None
    mean: float | None
    max_activation: float | None
    decoder_norm: float | None
    encoder_decoder_cosine: float | None
    q: dict[float, float] = Field(description="quantiles of its activations, by share")
    top_token: str | None
    top_token_share: float


class FeaturePage(BaseModel):
    """Everything known about one feature."""

    sae: str
    feature: int
    corpus: str
    dead: bool
    n_tokens: int
    stats: Stats
    histogram: Histogram | None
    logit_histogram: Histogram | None
    promoted: list[TokenWeight]
    suppressed: list[TokenWeight]
    neighbours: list[Neighbour]
    heads: list[HeadShare] = Field(description="of features of attention outputs, largest share first; else none")
    top: list[Example]
    bands: list[Band]
    provenance: dict[str, Any]
