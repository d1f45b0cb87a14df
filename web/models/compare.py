"""Comparisons as data."""

from typing import Literal

from pydantic import BaseModel, Field

from web.models.features import FeaturePage
from web.models.jobs import JobPage
from web.models.summary import FeatureSummary

Side = Literal["a", "b"]
Status = Literal["kept", "split", "merged", "vanished", "appeared", "dead"]


class ComparedFeature(BaseModel):
    """A feature of one SAE and the nearest of the other."""

    feature: FeatureSummary
    nearest: FeatureSummary | None = Field(description="by decoder cosine; none of a dead feature")
    cosine: float | None
    partner: int | None = Field(description="feature of the other SAE that is active on most of the same tokens")
    jaccard: float | None = Field(description="of the tokens of the feature and of its partner")


class ComparePage(BaseModel):
    """Two SAEs matched: what became of the features of a in b. The words are defined in the store's reference."""

    saes: list[str] = Field(description="what can be compared")
    a: str | None
    b: str | None
    corpus: str | None
    corpora: list[str] = Field(description="those on which both are indexed")
    job: JobPage | None = Field(description="the last that was to compare them")
    threshold: float | None = Field(None, description="from which cosine on two features are kin; none: not compared")
    counts: dict[Side, dict[str, int]] = Field({}, description="features of each SAE by status")
    side: Side
    status: Status
    page: int
    size: int
    total: int = 0
    rows: list[ComparedFeature] = []


class FeaturePair(BaseModel):
    """Two features side by side."""

    a: FeaturePage
    b: FeaturePage
    cosine: float | None = Field(
        description="of the decoder rows; none where their widths differ or weights are missing"
    )
    both: int | None = Field(description="tokens on which both are active; none where the texts differ")
    either: int | None = Field(description="tokens on which one of them is")
