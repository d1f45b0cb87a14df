"""One small SAE over the outputs of all heads, and the one latent that stands for each output.

Decisions: the loss is that of the house's ReLU rule, so errors are shares of the variance and the L1 weight is in units
of the outputs' standard deviation; O'Neill & Bui's λ of .01 to .02 multiplies unscaled activations and means something
else for each model. The batch is the whole training set, so nothing is shuffled and equal seeds give equal codes. It is
some hundreds of rows and latents, a third of them active: there dense products are several times faster than the sparse
kernels. An output on which no latent is active has a code of its own, where their argmax gives it that of latent 0.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.errors import UserError
from saebench.saes import SAE, ReLU
from saebench.saes.initialise import initialise
from saebench.saes.losses import or_one, variance


@dataclass(frozen=True)
class Settings:
    """How codes are learned.

    Attributes:
        latents: codes there are (200 to 300 in the paper).
        l1: price of the latents' sum, in units of the outputs' standard deviation.
        steps: full-batch steps of Adam.
        lr: its learning rate.
        train_examples: prompts learned from, drawn from both halves; codes are given to all.
        centre: take from each head's outputs their mean over all examples, which tells nothing of any of them and may
            be most of what there is. The paper does not.
        seed: of the weights and of that choice.
    """

    latents: int = 250
    l1: float = 0.02
    steps: int = 500
    lr: float = 1e-3
    train_examples: int = 10
    centre: bool = True
    seed: int = 0


def centred(outputs: Float[Tensor, "examples heads d_model"]) -> Float[Tensor, "examples heads d_model"]:
    """Each head's outputs about their mean over the examples."""
    return outputs - outputs.mean(0)


def fit(outputs: Float[Tensor, "examples heads d_model"], settings: Settings) -> SAE:
    """Train an SAE on the heads' outputs of some of the examples; it is returned in `eval`.

    Raises:
        UserError: outputs that are not finite.
    """
    if not bool(outputs.isfinite().all()):
        raise UserError("the outputs of some heads are not finite; look at the model and the prompts")
    generator = torch.Generator().manual_seed(settings.seed)
    chosen = torch.randperm(len(outputs), generator=generator)[: settings.train_examples]
    x = outputs[chosen.to(outputs.device)].flatten(0, 1).float()
    rule = ReLU(l1_weight=settings.l1, initial_l0=max(settings.latents // 2, 1))  # as a fresh encoder without bias has
    sae = SAE.create(x.shape[1], settings.latents, rule, settings.seed).to(x.device)
    initialise(sae, x)
    optimizer, spread = torch.optim.Adam(sae.parameters(), lr=settings.lr, fused=True), variance(x)
    for _ in range(settings.steps):
        optimizer.zero_grad()
        dense_loss(sae, x, spread, settings.l1).backward()
        sae.project_gradient()
        optimizer.step()
        sae.constrain()
    return sae.eval()


def dense_loss(sae: SAE, x: Float[Tensor, "rows d_model"], spread: Float[Tensor, ""], l1: float) -> Float[Tensor, ""]:
    """What the ReLU rule minimises (FVU and L1 for a given variance), in dense products."""
    active = torch.relu((x - sae.b_dec) @ sae.W_enc.T + sae.b_enc)
    error = (active @ sae.W_dec + sae.b_dec - x).square().sum(1).mean()
    return error / or_one(spread) + l1 * active.sum(1).mean() / or_one(spread).sqrt()


@torch.no_grad()
def head_codes(sae: SAE, outputs: Float[Tensor, "examples heads d_model"]) -> Int[np.ndarray, "examples heads"]:
    """The strongest latent of each output; the number of latents where none is active."""
    strongest = sae.encode(outputs.flatten(0, 1).float()).top(1)
    codes = torch.full((len(strongest),), sae.n_latents, dtype=torch.int64, device=outputs.device)
    codes[strongest.tokens.long()] = strongest.latents.long()
    found: np.ndarray = codes.view(outputs.shape[:2]).cpu().numpy()
    return found
