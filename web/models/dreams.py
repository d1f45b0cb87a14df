"""A feature's dream as data."""

from typing import Any

from pydantic import BaseModel, Field

from web.models.jobs import JobPage


class DreamtPrompt(BaseModel):
    """A text and what the feature makes of it."""

    text: str
    tokens: list[int] = Field(description="ids, without the begin token")
    pieces: list[str] = Field(description="bytes of each token, in hexadecimal")
    activations: list[float]
    activation: float = Field(description="at the last token")
    cross_entropy: float = Field(description="nats per token")
    survives: bool = Field(description="whether tokenizing the text gives these tokens again")


class DreamtExample(DreamtPrompt):
    """A strong example of the corpus, cut to the length of a prompt and scored as one."""

    document: str
    context: int
    position: int = Field(description="token of the context where the feature is strongest")
    value: float = Field(description="activation there, behind all of the context")


class DreamData(BaseModel):
    """Prompts that activate the feature, and what they are compared with."""

    frontier: list[DreamtPrompt] = Field(
        description="none of them is both more likely and more activating, likeliest first"
    )
    corpus: str | None = Field(description="where the examples are from")
    examples: list[DreamtExample] = Field(description="largest activation first")
    gain: float | None = Field(
        description="largest activation of prompts as likely as the best example, in shares of that one's"
    )
    provenance: dict[str, Any]


class DreamPage(BaseModel):
    """The dream, or how far it is."""

    sae: str
    feature: int
    corpus: str
    dream: DreamData | None
    job: JobPage | None = Field(description="the last that was to dream it")
