"""One optimiser step on a batch."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from saebench.saes.losses import Loss, variance
from saebench.saes.ranks import Ranks
from saebench.training import distributed
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

    A rule that selects over a batch does so over each micro-batch. Several processes are given the same batch and share
    the work as `state.sae.ranks` says. Raises ValueError for NaN or Inf in the batch, and
    for a loss that is not finite, before the weights change.
    """
    sae, ranks = state.sae, state.sae.ranks
    if ranks.everyone.size > 1 and not x.isfinite().all():  # by all processes alike, not by those whose part it is in
        raise ValueError("the batch contains NaN or Inf; look at the activations it was made from")
    for group in state.optimizer.param_groups:
        group["lr"] = lr
    dead, spread = state.dead(), None
    if sae.normalise == "none":
        x = x / state.scale
        spread = variance(x)
    losses = []
    for part in x.split(micro_batch or len(x)):
        own = ranks.share(part)
        loss = sae.loss(own, dead, sparsity, spread)
        share = len(own) / len(x)
        (loss.total * share).backward()
        losses.append((share, loss))
    measured = _measure(losses, ranks)
    if not torch.tensor(measured.loss).isfinite():
        state.optimizer.zero_grad()
        raise ValueError(f"the loss became {measured.loss}: lower lr")
    distributed.sum_gradients(sae)
    sae.project_gradient()
    if clip is not None:
        distributed.clip_gradients(sae, clip)
    state.optimizer.step()
    state.optimizer.zero_grad()
    for _, loss in losses:
        sae.update(loss)
        state.count_fired(loss.codes)
    sae.constrain()
    state.step += 1
    return measured


def _measure(losses: list[tuple[float, Loss]], ranks: Ranks) -> Measured:
    """The means of the losses by their shares, over all processes."""
    means: dict[str, float] = {}
    for share, loss in losses:
        l0 = ranks.latents.sum(torch.tensor(loss.l0, dtype=torch.float64))
        for name, value in ({"": loss.total.detach(), "fvu ": loss.fvu, "l0 ": l0} | loss.parts).items():
            means[name] = means.get(name, 0.0) + share * value.item()
    means = dict(
        zip(means, ranks.tokens.sum(torch.tensor(list(means.values()), dtype=torch.float64)).tolist(), strict=True)
    )
    return Measured(means.pop(""), means.pop("fvu "), means.pop("l0 "), means)
