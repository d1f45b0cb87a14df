"""What can be done to a feature, as values.

An intervention says what a feature's activation becomes. The model's vector then changes by that difference along the
feature's decoder row, so whatever the SAE does not reconstruct (its error term) stays as it was:

    x' = x + (f' − f) W_dec[feature]

Activations are in the SAE's own units, those of its index: `Add(activation=a)` writes just what the feature writes when
its activation is a, whatever the norm of its decoder row. A strength of s maxima is the activation s · max_activation.
"""

from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import BaseModel, Field
from torch import Tensor


class Intervention(BaseModel, frozen=True, extra="forbid"):
    """One feature of one SAE, and what becomes of its activation."""

    reads: ClassVar[bool]
    """Whether the outcome depends on what the activation is; else the SAE need not encode."""

    sae: str
    feature: int = Field(ge=0)

    def becomes(self, activation: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The activation after the intervention."""
        raise NotImplementedError


class Add(Intervention, frozen=True):
    """Steer: add a constant to the feature's activation at every token; below zero it writes the opposite."""

    reads: ClassVar[bool] = False
    kind: Literal["add"] = "add"
    activation: float = Field(allow_inf_nan=False)

    def becomes(self, activation: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """f + a."""
        return activation + self.activation


class Zero(Intervention, frozen=True):
    """Remove what the feature writes wherever it fires."""

    reads: ClassVar[bool] = True
    kind: Literal["zero"] = "zero"

    def becomes(self, activation: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """0."""
        return torch.zeros_like(activation)


AnyIntervention = Annotated[Add | Zero, Field(discriminator="kind")]
"""For reading interventions from JSON: `TypeAdapter(list[AnyIntervention])`."""
