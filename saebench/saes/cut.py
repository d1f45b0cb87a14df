"""The largest entries of groups that are spread over several processes, exactly, without moving an entry.

Decisions: the common cut of each group is found digit by digit: positive floats are ordered as their bits are, so each
round counts how many candidates have which next digit, adds the counts over the processes, and keeps the digit in which
the cut must lie. What travels is counts (at most `COUNTS` per round), however many processes and candidates there are;
gathering the values instead would bring every candidate to every process. Equal values at the cut go to the processes
in their order.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saebench.saes.axis import Axis

COUNTS = 2**18
WIDEST = 11
"""Bits of a digit, at most: three rounds find the cut of a single group in float32."""


@torch.no_grad()
def largest(
    values: Float[Tensor, " nnz"],
    groups: Int[Tensor, " nnz"],
    budgets: Int[Tensor, " groups"],
    axis: Axis,
) -> tuple[Bool[Tensor, " nnz"], Float[Tensor, " groups"]]:
    """Which of this process's (positive) values are among the budgets[g] largest of group g over all of the axis.

    Beside it each group's cut: the smallest chosen value, 0 where there are not more values than the budget.
    """
    whole = torch.int64 if values.dtype == torch.float64 else torch.int32
    bits, groups = values.detach().contiguous().view(whole).long(), groups.long()
    left = budgets.long().clone()
    cut = torch.zeros_like(left)
    equal = torch.zeros_like(left)
    alive_bits, alive_groups = bits, groups
    shift = 63 if whole == torch.int64 else 31
    width = max(1, min(WIDEST, (COUNTS // max(len(budgets), 1)).bit_length() - 1))
    while shift:
        width = min(width, shift)
        shift -= width
        n = 2**width
        digit = (alive_bits >> shift) & (n - 1)
        counts = axis.sum(torch.bincount(alive_groups * n + digit, minlength=len(budgets) * n).int()).view(-1, n)
        at_least = counts.long().flip(1).cumsum(1).flip(1)
        chosen = ((at_least >= left[:, None]).sum(1) - 1).clamp_min(0)  # the largest digit that leaves enough
        equal = counts.gather(1, chosen[:, None]).squeeze(1).long()
        left -= at_least.gather(1, chosen[:, None]).squeeze(1) - equal
        cut = (cut << width) | chosen
        alive = digit == chosen[alive_groups]
        alive_bits, alive_groups = alive_bits[alive], alive_groups[alive]
    keep = bits >= cut[groups]
    if bool((equal > left).any()):
        keep &= ~_beyond(bits == cut[groups], groups, left, axis)
    return keep, cut.to(whole).view(values.dtype)


def _beyond(
    tied: Bool[Tensor, " nnz"], groups: Int[Tensor, " nnz"], left: Int[Tensor, " groups"], axis: Axis
) -> Bool[Tensor, " nnz"]:
    """The values equal to their group's cut for which nothing is left: earlier processes and entries go first."""
    mine = torch.bincount(groups[tied], minlength=len(left))
    before = torch.stack(axis.gather(mine))[: axis.rank].sum(0)
    room = (left - before).clamp_min(0)
    at = tied.nonzero().squeeze(1)
    order = at[torch.sort(groups[at], stable=True).indices]
    first = torch.cumsum(mine, 0) - mine
    place = torch.arange(len(order), device=order.device) - first[groups[order]]
    beyond = torch.zeros_like(tied)
    beyond[order] = place >= room[groups[order]]
    return beyond
