"""The strongest features of a text as data."""

from pydantic import BaseModel, Field


class PromptFeature(BaseModel):
    """A feature active in the text."""

    feature: int
    said: str | None = Field(description="its label, or else its best explanation")
    promoted: list[str] = Field(description="tokens whose logits it raises most")
    activation: float = Field(description="its largest in the text")
    share: float | None = Field(description="of its largest in the corpus; null if it never fires there")
    token: int = Field(description="where, an index into `tokens`")
    n_tokens: int = Field(description="of the model, on which it is active")
    activations: list[float] = Field(description="at each of `tokens`")
    without: float | None = Field(None, description="under interventions: its share of its own maximum without them")
    set: bool = Field(False, description="whether the interventions act on it")


class PromptPage(BaseModel):
    """The strongest features of a text, or of one of its tokens; tokens that share a character are merged."""

    sae: str
    corpus: str
    text: str
    tokens: list[str]
    token: int | None = Field(description="the token that was asked about; null for the whole text")
    n_tokens: int = Field(description="of the model")
    l0: float = Field(description="mean number of active features per token")
    interventions: str | None = Field(None, description="under which the model reads the text; null: none")
    moved: list[float] = Field([], description="by how much each of `tokens` is changed where they act, |x' − x| / |x|")
    set: list[int] = Field([], description="features that the interventions act on and that fire without them")
    n_features: int = Field(description="that fire anywhere in the text, or on the token asked about")
    features: list[PromptFeature] = Field(description="strongest first, by their share of their own maximum")
