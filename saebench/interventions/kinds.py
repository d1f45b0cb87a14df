"""What can be done to features, as values.

An intervention says what a number that belongs to a feature becomes. The model's vector then changes by the difference
along the feature's decoder row, so whatever the SAE does not reconstruct (its error term) stays as it was:

    x' = x + (f' − f) W_dec[feature]

For most kinds f is the feature's activation, as the SAE encodes it. For projections it is how much of the decoder row w
the vector holds, whatever the encoder says: f = x·w / |w|², so that f w is the orthogonal projection of x onto w.

Activations are in the SAE's own units, those of its index: `Add(activation=a)` writes just what the feature writes when
its activation is a, whatever the norm of its decoder row. A strength of s maxima is the activation s · max_activation.
"""

from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import BaseModel, Field
from torch import Tensor

from saebench.interventions.where import Amount, Features, Tokens, When, as_tuple
from saebench.wording import kind_label

Reads = Literal["nothing", "activation", "projection"]
EVERYWHERE = Tokens()


class Intervention(BaseModel, frozen=True, extra="forbid"):
    """What becomes of one feature of an SAE, or of several alike; where, and when."""

    reads: ClassVar[Reads]
    """What f is. Where the outcome does not depend on it, the SAE need not encode."""
    parameters: ClassVar[tuple[str, ...]] = ()
    """Names of the numbers that `formula` wants beside f."""

    sae: str
    feature: Features
    tokens: Tokens = Field(EVERYWHERE, exclude_if=lambda tokens: tokens == EVERYWHERE)
    when: When | None = Field(None, exclude_if=lambda when: when is None)

    @property
    def features(self) -> tuple[int, ...]:
        """The features, also where there is but one."""
        return as_tuple(self.feature)

    @property
    def label(self) -> str:
        """Its readable name, that of the treatment which makes such ones."""
        kind: str = getattr(self, "kind")  # noqa: B009 (each kind has its own)
        above: float = getattr(self, "above", 0.0)
        return kind_label(kind, above=above, often=self.when is not None and self.when.kind == "often")

    @staticmethod
    def formula(f: Float[Tensor, "..."], *parameters: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """f' where the intervention happens."""
        raise NotImplementedError

    def becomes(self, f: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """f' where the intervention happens, with this one's own numbers."""
        return self.formula(f, *(f.new_tensor(getattr(self, name)) for name in self.parameters))


class Add(Intervention, frozen=True):
    """Steer: add a constant to the activation at every token; below zero it writes the opposite."""

    reads: ClassVar[Reads] = "nothing"
    parameters: ClassVar[tuple[str, ...]] = ("activation",)
    kind: Literal["add"] = "add"
    activation: Amount

    @staticmethod
    def formula(f: Float[Tensor, "..."], *parameters: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """f + a."""
        return f + parameters[0]


class Scale(Intervention, frozen=True):
    """Multiply the activation: weaken below 1, strengthen above, turn around below 0."""

    reads: ClassVar[Reads] = "activation"
    parameters: ClassVar[tuple[str, ...]] = ("factor",)
    kind: Literal["scale"] = "scale"
    factor: Amount

    @staticmethod
    def formula(f: Float[Tensor, "..."], *parameters: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """f · s."""
        return f * parameters[0]


class Clamp(Intervention, frozen=True):
    """Set the activation at every token, whether the feature fires there or not (Templeton et al. 2024)."""

    reads: ClassVar[Reads] = "activation"
    parameters: ClassVar[tuple[str, ...]] = ("activation",)
    kind: Literal["clamp"] = "clamp"
    activation: Amount

    @staticmethod
    def formula(f: Float[Tensor, "..."], *parameters: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """a."""
        return parameters[0].expand_as(f)


class ClampActive(Intervention, frozen=True):
    """Set the activation where it is above `above`; a negative value is the negative clamp for unlearning (Farrell et
    al. 2024), and with a threshold above zero Clamp Prime (Khoriaty et al. 2025).
    """

    reads: ClassVar[Reads] = "activation"
    parameters: ClassVar[tuple[str, ...]] = ("activation", "above")
    kind: Literal["clamp_active"] = "clamp_active"
    activation: Amount
    above: Amount = Field(0.0, ge=0)

    @staticmethod
    def formula(f: Float[Tensor, "..."], *parameters: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """a where f > above, else f."""
        activation, above = parameters
        return torch.where(f > above, activation, f)


class Zero(Intervention, frozen=True):
    """Remove what the feature writes wherever it fires."""

    reads: ClassVar[Reads] = "activation"
    kind: Literal["zero"] = "zero"

    @staticmethod
    def formula(f: Float[Tensor, "..."], *parameters: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """0."""
        del parameters
        return torch.zeros_like(f)


class Cap(Intervention, frozen=True):
    """Let the activation be at most so large."""

    reads: ClassVar[Reads] = "activation"
    parameters: ClassVar[tuple[str, ...]] = ("activation",)
    kind: Literal["cap"] = "cap"
    activation: Amount

    @staticmethod
    def formula(f: Float[Tensor, "..."], *parameters: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """min(f, a)."""
        return torch.minimum(f, parameters[0])


class Project(Intervention, frozen=True):
    """Orthogonal projection: x' = (I − P) x + c P x, with P onto the decoder rows of the features. c = 0 removes the
    directions whatever the encoder says.

    Neighbours in a list that project at one hook point, on the same tokens and condition, do so at once: P is onto
    the span of all their rows, so that none is left of any of them, also where rows are not orthogonal.
    """

    reads: ClassVar[Reads] = "projection"
    parameters: ClassVar[tuple[str, ...]] = ("factor",)
    kind: Literal["project"] = "project"
    factor: Amount = 0.0

    @staticmethod
    def formula(f: Float[Tensor, "..."], *parameters: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """c · f."""
        return f * parameters[0]


class CapProjection(Intervention, frozen=True):
    """Let the vector hold at most `activation` times the decoder row."""

    reads: ClassVar[Reads] = "projection"
    parameters: ClassVar[tuple[str, ...]] = ("activation",)
    kind: Literal["cap_projection"] = "cap_projection"
    activation: Amount

    @staticmethod
    def formula(f: Float[Tensor, "..."], *parameters: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """min(f, a)."""
        return torch.minimum(f, parameters[0])


AnyIntervention = Annotated[
    Add | Scale | Clamp | ClampActive | Zero | Cap | Project | CapProjection, Field(discriminator="kind")
]
"""For reading interventions from JSON: `TypeAdapter(list[AnyIntervention])`."""
