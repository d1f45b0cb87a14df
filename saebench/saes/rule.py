"""What a selection rule is: settings, its own tensors, how it encodes, what it minimises.

Decisions: a rule is a frozen dataclass of plain settings and owns no tensor: those it needs beside the weights are
declared here, live on the SAE under their names, and stay float32 whatever the weights' dtype. Each setting says in
one place what it means and where it may lie; the YAML config is made from that.
"""

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from jaxtyping import Bool, Float
from torch import Tensor

from saebench.kernels import Selection, SparseCodes
from saebench.saes.losses import Loss

if TYPE_CHECKING:
    from saebench.saes.sae import SAE

BOUNDS = {
    "ge": ("at least", lambda value, bound: value >= bound),
    "gt": ("above", lambda value, bound: value > bound),
    "le": ("at most", lambda value, bound: value <= bound),
}


def setting(default: Any, description: str, **about: float) -> Any:
    """A field of a rule: its default, its meaning, and bounds `ge`, `gt`, `le` as pydantic names them.

    `of_run` marks a number of tokens which, left open in a recipe, is the default or that share of the run, the less.
    """
    return field(default=default, metadata={"description": description, **about})


@dataclass(frozen=True)
class Training:
    """What a loss may use beyond the batch."""

    variance: Float[Tensor, ""]
    """Mean squared distance from the mean, per token: what FVU divides by."""
    dead: Bool[Tensor, " n_latents"] | None = None
    """Latents that have not fired for the rule's `dead_after` tokens."""
    sparsity: float = 1.0
    """Factor on the sparsity penalty, for warm-up."""


@dataclass(frozen=True)
class Rule:
    """Base of all rules. Raises ValueError for a setting out of its bounds."""

    name: ClassVar[str]
    unit_decoder: ClassVar[bool] = True
    """Whether each decoder row is kept at unit norm."""
    betas: ClassVar[tuple[float, float]] = (0.9, 0.999)
    """Adam's, as the rule's source has them."""
    competes: ClassVar[bool] = True
    """Whether a latent's activation depends on the other latents, or on a number that all of them share."""
    derived_decoder: ClassVar[bool] = False
    """Whether W_dec is computed from the rule's own tensors instead of trained."""
    common: ClassVar[tuple[str, ...]] = ()
    """Own tensors, scalars aside, whose rows do not belong to one latent each."""

    dead_after: int = field(
        default=10_000_000,
        kw_only=True,
        metadata={
            "description": "tokens without firing after which a latent counts as dead", "ge": 1, "of_run": 1 / 50,
        },
    )  # fmt: skip

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            for key, (words, holds) in BOUNDS.items():
                if key in item.metadata and value is not None and not holds(value, item.metadata[key]):
                    raise ValueError(
                        f"{type(self).__name__}: {item.name} must be {words} {item.metadata[key]}, got {value}"
                    )

    def check(self, d_in: int, n_latents: int) -> None:
        """Raise ValueError unless the rule fits an SAE of this size."""

    def parameters(self, d_in: int, n_latents: int) -> dict[str, Tensor]:
        """Fresh trained tensors beside the weights."""
        del d_in, n_latents
        return {}

    def buffers(self, d_in: int, n_latents: int) -> dict[str, Tensor]:
        """Fresh tensors that are estimated in training and stored with the weights."""
        del d_in, n_latents
        return {}

    def initialise(self, sae: "SAE", sample: Float[Tensor, "tokens d_in"]) -> None:
        """Fit the rule's own tensors, or the encoder's biases, to a sample."""

    def rescale(self, sae: "SAE", factor: float) -> None:
        """Multiply what has the units of a pre-activation by a factor, but for b_enc."""

    def encode(self, sae: "SAE", x: Float[Tensor, "tokens d_in"]) -> SparseCodes:
        """The codes of x: selected as in training while `sae.training`, else as the SAE serves."""
        raise NotImplementedError

    def serving(self, sae: "SAE") -> Selection | None:
        """The selection of pre-activations by which the SAE serves (in `eval`); None where codes are not those alone.

        Raises ValueError where it needs a threshold that was never estimated.
        """
        del sae
        return None

    def loss(self, sae: "SAE", x: Float[Tensor, "tokens d_in"], training: Training) -> Loss:
        """What training minimises on a batch; every part is a mean over its tokens."""
        raise NotImplementedError

    def slope(self, sae: "SAE") -> Float[Tensor, "n_latents d_in"]:
        """How the activation of a latent that is active changes with x (the SAE's input, layer-normed where it is)."""
        return sae.W_enc

    def dictionary(self, sae: "SAE") -> Float[Tensor, "n_latents d_in"]:
        """The decoder as training differentiates it."""
        return sae.W_dec

    def update(self, sae: "SAE", codes: SparseCodes) -> None:
        """Estimate after a step, from the batch's codes, what serving needs."""

    def constrain(self, sae: "SAE") -> None:
        """Bring derived tensors up to date after a step."""
