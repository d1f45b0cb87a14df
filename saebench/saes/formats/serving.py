"""What an SAE does when it serves, in the words that other libraries have: what all exports begin with."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from saebench.saes.batchtopk import BatchTopK
from saebench.saes.feature_choice import FeatureChoice
from saebench.saes.gated import Gated
from saebench.saes.relu import ReLU
from saebench.saes.sae import SAE
from saebench.saes.topk import TopK


@dataclass(frozen=True)
class Serving:
    """One of four ways to go from pre-activations to codes."""

    kind: Literal["topk", "jumprelu", "gated", "relu"]
    thresholds: Float[Tensor, " n_latents"] | None = None
    """Of jumprelu, at least zero; infinite for a latent that never fires."""


def serving(sae: SAE) -> Serving:
    """How an SAE serves. Raises ValueError for a threshold never estimated."""
    match sae.rule:
        case TopK():  # archetypal too: its W_dec is up to date in every saved SAE
            return Serving("topk")
        case Gated():
            return Serving("gated")
        case ReLU():
            return Serving("relu")
        case FeatureChoice() if sae.rule.chooses(sae):
            thresholds = sae.tensor("thresholds").detach().nan_to_num(nan=torch.inf)
            return Serving("jumprelu", thresholds.clamp_min(0))
        case BatchTopK():
            return Serving("jumprelu", estimated(sae).expand(sae.n_latents))
    return Serving("jumprelu", sae.tensor("log_threshold").detach().exp())


def estimated(sae: SAE) -> Float[Tensor, ""]:
    """The one threshold of a rule that selects over a batch. Raises ValueError where there is none yet."""
    threshold = sae.tensor("threshold").detach()
    if bool(threshold.isnan()):
        raise ValueError(f"this {sae.rule.name} SAE has no inference threshold yet; train it first")
    return threshold.clamp_min(0)


def weights(sae: SAE) -> dict[str, Tensor]:
    """Its four weights by our names, detached."""
    return {name: getattr(sae, name).detach() for name in ("W_enc", "b_enc", "W_dec", "b_dec")}


def only_plain(sae: SAE, library: str) -> None:
    """Raise ValueError for an SAE of layer-normed activations, which only SAELens (and our own format) can express."""
    if sae.normalise != "none":
        raise ValueError(f"{library} has no layer norm around an SAE; write it as saelens")
