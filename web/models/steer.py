"""A prompt continued with and without steering, as data."""

from pydantic import BaseModel, Field


class SteeredFeature(BaseModel):
    """A feature that is added to what the model computes."""

    sae: str
    feature: int
    said: str | None = Field(description="its label, or else its best explanation")
    promoted: list[str]
    strength: float = Field(description="in its own maxima")
    max_activation: float
    dense: bool = Field(description="fires on more than 10% of tokens; texts are not shaded by it beside others")
    activation: float = Field(description="what is added at every token, in the SAE's units")


class Continuation(BaseModel):
    """A prompt and what the model wrote behind it; tokens that share a character are merged."""

    generated: str
    tokens: list[str] = Field(description="the prompt's first")
    activations: list[list[float]] = Field(
        description="[features, tokens], of the steered features, as the model without steering reads this text"
    )
    moved: list[float] = Field(
        [], description="by how much saved interventions change each token where they act, |x' − x| / |x|"
    )


class NextToken(BaseModel):
    """A token that may follow the prompt, and its probability."""

    token: str
    without: float
    steered: float


class SteerAnswer(BaseModel):
    """What a model writes with and without features added."""

    sae: str
    text: str
    features: list[SteeredFeature]
    interventions: str | None = Field(None, description="saved ones, which happen before the features are added")
    tokens: int = Field(description="how many were to be generated")
    temperature: float
    seed: int
    prompt_tokens: int
    without: Continuation
    steered: Continuation
    next: list[NextToken] = Field(description="the likeliest behind the prompt, by the larger of the probabilities")
    divergence: float = Field(description="nats, KL(without ‖ steered) of the token behind the prompt")


class Found(BaseModel):
    """A feature that a search found."""

    feature: int
    said: str | None
    promoted: list[str]
