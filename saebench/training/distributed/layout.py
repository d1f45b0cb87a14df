"""From the config's `parallel` to the processes along each axis, and what a layout cannot do."""

from typing import TYPE_CHECKING, Literal

import torch.distributed as dist

from saebench.errors import UserError
from saebench.saes.axis import UNDIVIDED, Axis
from saebench.saes.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from saebench.training.config import TrainConfig

Parallel = Literal["data", "latents"]


def everyone() -> Axis:
    """The processes that have been joined, on one axis; `UNDIVIDED` without any."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return UNDIVIDED
    return Axis(dist.get_rank(), dist.get_world_size(), dist.group.WORLD)


def ranks_for(parallel: Parallel) -> Ranks:
    """The processes that have been joined, along one axis; `ALONE` without any."""
    joined = everyone()
    if joined is UNDIVIDED:
        return ALONE
    if parallel == "data":
        return Ranks(tokens=joined, latents=UNDIVIDED, everyone=joined)
    return Ranks(tokens=UNDIVIDED, latents=joined, everyone=joined)


def check(config: "TrainConfig", ranks: Ranks) -> None:
    """Raise UserError unless the SAE (of a config of one) and its batches can be split so."""
    if ranks.tokens.size > config.batch:
        raise UserError(f"train.batch = {config.batch} is too small to share among {ranks.tokens.size} processes")
    if config.sae.n_latents % ranks.latents.size:
        raise UserError(
            f"train.sae.n_latents = {config.sae.n_latents} is not a multiple of the {ranks.latents.size} processes "
            "that share the latents; choose another width or number, or train.parallel: data"
        )
