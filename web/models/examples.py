"""Examples and contexts as data."""

from typing import Literal

from pydantic import BaseModel, Field

Kind = Literal["top", "quantiles", "random", "negatives"]
"""How a feature's examples are chosen: its strongest, evenly by rank, at random, or silent where similar ones fire."""


class Sources(BaseModel):
    """Where an activation of an attention feature comes from."""

    total: float = Field(description="pre-activation but for the SAE's biases")
    tokens: list[float] = Field(description="what each of the example's tokens adds; 0 behind the peak")
    before: float = Field(description="what the context before these tokens adds")
    heads: list[float] = Field(description="what each head adds")


class Example(BaseModel):
    """A stretch of a context around an activation, token by token. A character split over tokens stands in the last."""

    context: int
    position: int = Field(description="token of the context where the activation is")
    start: int = Field(description="token of the context where the stretch begins")
    value: float
    document: str
    tokens: list[str]
    activations: list[float]
    alike: int = Field(1, description="examples with the same text around the peak, this one included")
    neighbour: int | None = Field(None, description="of a hard negative: the feature that fires here")
    sources: Sources | None = Field(None, description="of the strongest examples of features of attention outputs")


class Examples(BaseModel):
    """Examples of one quantile band (shares of the feature's activations by rank), or of all."""

    low: float | None = None
    high: float | None = None
    examples: list[Example]


class ExampleLists(BaseModel):
    """A feature's examples of one kind; by quantile, one list for each band, else one list."""

    sae: str
    feature: int
    corpus: str
    kind: Kind
    lists: list[Examples]


class WholeContext(BaseModel):
    """One context and where a feature fires in it, token by token."""

    context: int
    tokens: list[str]
    activations: list[float]
