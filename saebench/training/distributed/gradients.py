"""After the backward pass: gradients that are those of the whole batch, and their global norm.

Decisions: no collective runs in a backward pass, so all gradients are summed at once, as one flat vector per axis.
"""

import torch
from torch import Tensor

from saebench.saes import SAE
from saebench.saes.axis import Axis
from saebench.training.distributed.sharding import per_latent


def sum_gradients(sae: SAE) -> None:
    """Sum each process's part of the gradients, over those that have the same parameter."""
    own, common = _gradients(sae)
    if sae.ranks.latents.size == 1:
        _sum(own + common, sae.ranks.tokens)
    else:
        _sum(own, sae.ranks.tokens)
        _sum(common, sae.ranks.everyone)


def clip_gradients(sae: SAE, largest: float) -> None:
    """Scale the gradients down to a global norm, over all latents of all processes."""
    own, common = _gradients(sae)
    if sae.ranks.latents.size == 1:
        norm = torch.nn.utils.get_total_norm([p.grad for p in sae.parameters() if p.grad is not None])
    else:
        squares = sae.ranks.latents.sum(torch.nn.utils.get_total_norm(own).square())
        norm = (squares + torch.nn.utils.get_total_norm(common).square()).sqrt()
    if norm.is_cuda or norm > largest:  # on a GPU it costs less to multiply by 1 than to wait for the norm
        torch.nn.utils.clip_grads_with_norm_(sae.parameters(), largest, norm)


def _gradients(sae: SAE) -> tuple[list[Tensor], list[Tensor]]:
    """Of the parameters with a row per latent, and of those that all processes have alike; zeros where there is none.

    A process may have no gradient where others have one: none of its latents or tokens had an entry.
    """
    split: tuple[list[Tensor], list[Tensor]] = ([], [])
    names = per_latent(sae)
    for name, parameter in sae.named_parameters():
        if parameter.requires_grad:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            split[name not in names].append(parameter.grad)
    return split


def _sum(gradients: list[Tensor], axis: Axis) -> None:
    if axis.size == 1 or not gradients:
        return
    total = axis.sum(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, part in zip(gradients, total.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))
