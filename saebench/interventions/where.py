"""Where an intervention happens, as values: on which tokens, and on which condition."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, model_validator

Number = Annotated[int, Field(ge=0)]
Features = Number | Annotated[tuple[Number, ...], Field(min_length=1)]
"""The number of a feature, or those of several."""
Amount = Annotated[float, Field(allow_inf_nan=False)]


def as_tuple(features: int | tuple[int, ...]) -> tuple[int, ...]:
    """One or several features as several."""
    return (features,) if isinstance(features, int) else features


class Tokens(BaseModel, frozen=True, extra="forbid"):
    """Positions of a sequence, counted from 0 with its begin token; behind a cache, on from what it holds.

    Special tokens (begin, end, padding) have no codes in an index and are left alone unless `special` is set.
    """

    start: int = Field(0, ge=0)
    stop: int | None = Field(None, description="the first position that is left out; none: to the end")
    special: bool = False

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.stop is not None and self.stop <= self.start:
            raise ValueError(f"no token is from {self.start} to before {self.stop}")
        return self


class Condition(BaseModel, frozen=True, extra="forbid"):
    """Features whose firing decides. A feature fires where its activation is above `above`.

    Attributes:
        sae: theirs; none: the intervention's own.
        feature: any of these; none: the intervention's own.
        above: in the SAE's units.
    """

    sae: str | None = None
    feature: Features | None = None
    above: Amount = Field(0.0, ge=0)


class Fires(Condition, frozen=True):
    """At tokens on which any of the features fires.

    They may belong to another SAE, at the same hook point or one that the model computes before: a refusal feature set
    where a harmful one fires is a refusal clamp ("Don't Forget It! Conditional Sparse Autoencoder Clamping Works for
    Unlearning", Khoriaty et al. 2025).
    """

    kind: Literal["fires"] = "fires"


class Often(Condition, frozen=True):
    """In sequences in which any of the features fires on more than `share` of the ordinary tokens: the gate of dynamic
    SAE guardrails (DSG; Muhamed et al. 2025, "SAEs Can Improve Unlearning").

    A pass decides for each sequence on all tokens read of it so far, those of the pass included, and the decision holds
    for all tokens of that pass: for a text read at once on the whole text, in generation for the prompt on the whole
    prompt and for each token after it on what precedes it and itself.
    """

    kind: Literal["often"] = "often"
    share: float = Field(ge=0, le=1)


When = Annotated[Fires | Often, Field(discriminator="kind")]
