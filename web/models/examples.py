"""Examples and contexts as data."""

from pydantic import BaseModel, Field


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


class WholeContext(BaseModel):
    """One context and where a feature fires in it; tokens that share a character are merged."""

    context: int
    tokens: list[str]
    activations: list[float]
