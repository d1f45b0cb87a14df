"""The Pareto frontier: prompts of which none is both more likely and more activating."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def pareto(activation: Float[Tensor, " n"], cross_entropy: Float[Tensor, " n"]) -> Int[Tensor, " kept"]:
    """Places of those that no other one dominates: by being at least as good in both and better in one.

    Both rise along the result. Of several that are alike in both, the first.
    """
    strongest_first = torch.argsort(activation, descending=True, stable=True)
    order = strongest_first[torch.argsort(cross_entropy[strongest_first], stable=True)]
    best = activation[order].cummax(0).values
    before = torch.cat([best.new_tensor([-torch.inf]), best[:-1]])
    return order[activation[order] > before]
