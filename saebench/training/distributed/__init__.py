"""Training one SAE with several processes: started by torchrun, applied to the loop from outside.

Two layouts (`train.parallel`). `data`: each process has a part of every batch and a whole SAE. `latents`: each has the
whole batch and a part of the SAE. What a rule has to ask of the other processes is in `saebench.saes.ranks`; here is
what the loop does around it: joining, agreeing, splitting the state, summing gradients, failing together.

Decisions:
- One process makes a run's folder, writes it and reads its checkpoints: the others need not see the same disk.
- What is on disk is what one process would have written, so a run may go on with another number of processes.
- Plain collectives, not DTensor: see `saebench.saes.ranks`.
"""

from saebench.training.distributed.failure import is_first, launched
from saebench.training.distributed.gradients import clip_gradients, sum_gradients
from saebench.training.distributed.layout import check, everyone, ranks_for
from saebench.training.distributed.sharding import (
    copy_from_first,
    from_first,
    loaded,
    own_parts,
    split,
    unite,
    whole,
)

__all__ = [
    "check",
    "clip_gradients",
    "copy_from_first",
    "everyone",
    "from_first",
    "is_first",
    "launched",
    "loaded",
    "own_parts",
    "ranks_for",
    "split",
    "sum_gradients",
    "unite",
    "whole",
]
