"""Activations on any text as data."""

from pydantic import BaseModel


class LiveText(BaseModel):
    """Text to encode."""

    text: str


class LiveAnswer(BaseModel):
    """Activations of one feature on a text; tokens that share a character are merged."""

    sae: str
    feature: int
    tokens: list[str]
    activations: list[float]
    n_tokens: int
    n_active: int
    max_activation: float
