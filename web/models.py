"""What the JSON of each page holds; the OpenAPI description is made from these."""

from typing import Any

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
    saes: list[Row]
    indexes: list[Row]
    harvests: list[Row]
    corpora: list[Row]


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
    density_histogram: "Histogram | None"
    dead: int | None


class Histogram(BaseModel):
    """counts[i] values lie in edges[i]..edges[i + 1]."""

    edges: list[float]
    counts: list[int]


class Sources(BaseModel):
    """Where an activation of an attention feature comes from."""

    total: float = Field(description="pre-activation but for the SAE's biases")
    tokens: list[float] = Field(description="what each of the example's tokens adds; 0 behind the peak")
    before: float = Field(description="what the context before these tokens adds")
    heads: list[float] = Field(description="what each head adds")


class Example(BaseModel):
    """A context around an activation; tokens that share a character are merged and carry their largest activation."""

    context: int
    position: int = Field(description="token of the context where the activation is")
    value: float
    document: str
    tokens: list[str]
    activations: list[float]
    sources: Sources | None = Field(None, description="of the strongest examples of features of attention outputs")


class Band(BaseModel):
    """Examples drawn from one quantile band of a feature's activations."""

    low: float
    high: float
    low_value: float
    high_value: float
    examples: list[Example]


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


class WholeContext(BaseModel):
    """One context and where a feature fires in it; tokens that share a character are merged."""

    context: int
    tokens: list[str]
    activations: list[float]


class LiveText(BaseModel):
    """Text to encode."""

    text: str


class LiveAnswer(BaseModel):
    """Activations of one feature on a text; tokens that share a character are merged."""

    sae: str
    feature: int
    tokens: list[str]
    activations: list[float]
    n_tokens: int
    n_active: int
    max_activation: float
