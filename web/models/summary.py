"""A feature in one row of a table, as data."""

from pydantic import BaseModel, Field


class FeatureSummary(BaseModel):
    """What one needs to recognise a feature without opening it."""

    sae: str
    feature: int
    label: str | None = Field(None, description="people's own name for it")
    explanation: str | None = Field(None, description="the best-scored explanation")
    promoted: list[str] = Field([], description="tokens whose logits it raises most")
    density: float | None = Field(None, description="share of tokens it fires on; none without an index")
    max_activation: float | None = None

    @property
    def said(self) -> str | None:
        """What it stands for, in people's words before a method's."""
        return self.label or self.explanation
