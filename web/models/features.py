"""A feature as data."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from web.models.examples import Example

Measure = Literal["jaccard", "pmi", "pearson"]
"""How co-activation is measured."""


class Histogram(BaseModel):
    """counts[i] values lie in edges[i]..edges[i + 1]."""

    edges: list[float]
    counts: list[int]


class Related(BaseModel):
    """A feature that has to do with another: by decoder cosine, or by firing on the same tokens."""

    feature: int
    value: float = Field(description="cosine of the decoder rows, or the measure of co-activation asked for")
    together: int | None = Field(None, description="tokens on which both fire, for co-activation")
    said: str | None = Field(description="its label, or else its best explanation")
    promoted: list[str]


class RelatedFeatures(BaseModel):
    """Features related to one, strongest first."""

    sae: str
    feature: int
    corpus: str
    measure: Literal["cosine"] | Measure
    features: list[Related]


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
    n_documents: int
    documents_share: float | None
    mean: float | None
    max_activation: float | None
    decoder_norm: float | None
    encoder_decoder_cosine: float | None
    q: dict[float, float] = Field(description="quantiles of its activations, by share")
    top_token: str | None
    top_token_share: float
    dead: bool
    dense: bool
    duplicate: bool
    position_locked: bool
    bos_only: bool


class Explanation(BaseModel):
    """What a method says a feature stands for."""

    text: str
    score: float | None
    scorer: str | None
    split: str | None
    method: str
    version: str
    corpus: str


class Note(BaseModel):
    """A person's remark."""

    text: str
    author: str
    made_at: datetime = Field(description="UTC")


class Remarks(BaseModel):
    """What is said of a feature."""

    label: str | None
    explanations: list[Explanation] = Field(description="best score first")
    notes: list[Note] = Field(description="oldest first")
    lists: list[str]


class FeaturePage(BaseModel):
    """Everything on a feature's page but the examples that are not its strongest."""

    sae: str
    feature: int
    corpus: str
    dead: bool
    n_tokens: int
    stats: Stats
    remarks: Remarks
    histogram: Histogram | None
    logit_histogram: Histogram | None
    promoted: list[TokenWeight]
    suppressed: list[TokenWeight]
    neighbours: list[Related]
    heads: list[HeadShare] = Field(description="of features of attention outputs, largest share first; else none")
    top: list[Example]
    provenance: dict[str, Any]
