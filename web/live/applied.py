"""Saved interventions at work on a text."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from web.live.models import InUse

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor

    from saebench.interventions import InterventionSet


def saes_of(kept: "InterventionSet | None") -> list[str]:
    """Ids of the SAEs that a set needs."""
    return [] if kept is None else [used.id for used in kept.saes.values()]


@contextmanager
def applied(use: InUse, kept: "InterventionSet | None") -> Iterator[None]:
    """The model under a set; as it is where there is none. Raises UserError where they do not fit."""
    if kept is None:
        yield
        return
    from saebench.interventions import intervened

    with intervened(use.lm, kept.interventions, {name: use.saes[used.id] for name, used in kept.saes.items()}):
        yield


def moved(use: InUse, kept: "InterventionSet", tokens: "Int[Tensor, 'one read']") -> Float[np.ndarray, " read"]:
    """By how much each token is changed where the set acts: |x' − x| / |x|, the largest over its hook points; 0 where
    nothing happens.
    """
    hook_points = list(dict.fromkeys(used.hook_point for used in kept.saes.values()))
    before = use.lm.run(tokens, hook_points)[1]
    with applied(use, kept):
        after = use.lm.run(tokens, hook_points)[1]
    found = [
        (after[name][0].float() - before[name][0].float()).norm(dim=-1)
        / before[name][0].float().norm(dim=-1).clamp_min(1e-12)
        for name in hook_points
    ]
    return np.max([each.cpu().numpy() for each in found], axis=0)
