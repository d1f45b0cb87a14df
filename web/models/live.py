"""A feature on any text as data."""

from pydantic import BaseModel, Field


class LiveText(BaseModel):
    """Text to read."""

    text: str


class Shift(BaseModel):
    """A possible next token, and what removing the feature does to its probability and its logit."""

    token: str
    before: float
    after: float
    logit: float = Field(description="change of the logit")


class LiveAnswer(BaseModel):
    """One feature on a text and the effect of removing it; tokens that share a character are merged."""

    sae: str
    feature: int
    tokens: list[str]
    activations: list[float]
    losses: list[float | None] = Field(
        description="nats, of predicting what follows each token; null where nothing does"
    )
    loss_changes: list[float | None] = Field(description="by how much removing the feature changes them")
    falls: list[list[Shift]] = Field(description="at each token, the next tokens whose probability falls most")
    rises: list[list[Shift]] = Field(description="the same for those that rise")
    n_tokens: int
    n_active: int
    max_activation: float
    loss_change: float = Field(description="nats, summed over the text")
