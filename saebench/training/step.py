"""One optimiser step on a batch."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from saebench.saes.losses import variance
from saebench.training.state import State


@dataclass(frozen=True)
class Measured:
    """What a step found on its batch, before the update."""

    loss: float
    fvu: float
    l0: float
    parts: dict[str, float]


def step(
    state: State,
    x: Float[Tensor, "batch d_in"],
    lr: float,
    *,
    sparsity: float = 1.0,
    clip: float | None = None,
    micro_batch: int | None = None,
) -> Measured:
    """Forward, backward (in micro-batches, averaged), projection, clipping, Adam, constraints, estimates.

    A rule that selects over a batch does so over each micro-batch. Raises ValueError for NaN or Inf in the batch, and
    for a loss that is not finite, before the weights change.
    """
    sae = state.sae
    for group in state.optimizer.param_groups:
        group["lr"] = lr
    dead, spread = state.dead(), None
    if sae.normalise == "none":
        x = x / state.scale
        spread = variance(x)
    losses = []
    for part in x.split(micro_batch or len(x)):
        loss = sae.loss(part, dead, sparsity, spread)
        share = len(part) / len(x)
        (loss.total * share).backward()
        losses.append((share, loss))
    means: dict[str, float] = {}
    for share, loss in losses:
        for name, value in ({"": loss.total.detach(), "fvu ": loss.fvu} | loss.parts).items():
            means[name] = means.get(name, 0.0) + share * value.item()
    measured = Measured(means.pop(""), means.pop("fvu "), sum(share * loss.l0 for share, loss in losses), means)
    if not torch.tensor(measured.loss).isfinite():
        state.optimizer.zero_grad()
        raise ValueError(f"the loss became {measured.loss}: lower lr")
    sae.project_gradient()
    if clip is not None:
        torch.nn.utils.clip_grad_norm_(sae.parameters(), clip)
    state.optimizer.step()
    state.optimizer.zero_grad()
    for _, loss in losses:
        sae.update(loss)
        state.count_fired(loss.codes)
    sae.constrain()
    state.step += 1
    return measured
