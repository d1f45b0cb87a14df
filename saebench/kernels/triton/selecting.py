"""The four selections as one scheme: propose groups, compute the proposed ones exactly, decide.

Decisions:
- One product writes the maxima of groups of 32 columns (`maxima`). From them follows a cut that the selected entries
  are proved to reach, before any of them is known: k entries of a row reach the k-th largest of its maxima.
- The proposing product may err (`operands`), so the cut is taken from maxima less their error, and a group is proposed
  if its maximum plus its error reaches the cut. The proposed groups are computed again in float32 (`exact`), and only
  these values decide and are returned. So the result is that of float32 alone, as far as the allowance for error goes.
- PerToken and PerLatent are the same: PerLatent lays latents along the rows and tokens along the columns.
- PerBatch asks for no search where `expected` is good: 0.97 of it is a cut if k × tokens maxima reach it, and not twice
  as many. Else the cut is their (k × tokens)-th largest. Either way the product is made once.
- Above shifts each latent's bias by its threshold in the proposing product, and the cut is zero.
- The values computed again are held for some rows at a time: an eighth of the dense matrix, but between 1 and 128 MiB
  and one row at least. Where nearly everything is selected, the result itself is of the dense size.
- Entries come out by row, then by column: the order depends on no race.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.kernels.codes import SparseCodes, from_entries
from saebench.kernels.selection import Above, PerBatch, PerLatent, PerToken, Selection
from saebench.kernels.triton.exact import exact_groups
from saebench.kernels.triton.maxima import GROUP, group_maxima
from saebench.kernels.triton.operands import Operand, prepare
from saebench.kernels.triton.rows import cuts, largest

FEWEST_SCORES, MOST_SCORES = 2**18, 2**25
HINT = 0.97
SMALLEST = torch.finfo(torch.float32).tiny
LARGEST = torch.finfo(torch.float32).max


class Problem(NamedTuple):
    """Which entries of left · rightᵀ + bias are asked for: always some per row of `left`."""

    left: Operand
    right: Operand
    bias: Float[Tensor, " rows_or_columns"]
    bias_of_rows: bool


class Entries(NamedTuple):
    """Selected entries of the product, by row, then by column."""

    values: Float[Tensor, " nnz"]
    rows: Int[Tensor, " nnz"]
    columns: Int[Tensor, " nnz"]


Pairs = tuple[Tensor, Tensor]


def select(
    x: Float[Tensor, "tokens d_in"],
    W_enc: Float[Tensor, "n_latents d_in"],
    b_enc: Float[Tensor, " n_latents"],
    selection: Selection,
    among: Int[Tensor, " some"] | None,
    bfloat16: bool,
) -> SparseCodes:
    """The selected entries of W_enc x + b_enc, the selection restricted to the latents `among`.

    Raises ValueError where a selected value is NaN.
    """
    size = len(x), len(W_enc)
    if among is not None:
        W_enc, b_enc, selection = W_enc[among], b_enc[among], _restricted(selection, among)
    if not len(x) or not len(W_enc):
        nothing = torch.empty(0, dtype=torch.int64, device=x.device)
        return from_entries(x.new_empty(0), nothing, nothing, size)
    tokens, latents, bias = prepare(x, bfloat16), prepare(W_enc, bfloat16), b_enc.contiguous()
    match selection:
        case PerToken(k):
            ks = torch.full((len(x),), k, dtype=torch.int64, device=x.device)
            found = _per_row(Problem(tokens, latents, bias, False), ks)
        case PerBatch(k, expected):
            found = _per_batch(Problem(tokens, latents, bias, False), k * len(x), expected)
        case PerLatent(budgets):
            by_latent = _per_row(Problem(latents, tokens, bias, True), budgets)
            found = Entries(by_latent.values, by_latent.columns, by_latent.rows)
        case Above(thresholds):
            found = _above(Problem(tokens, latents, bias, False), thresholds)
    values, rows, columns = found
    if bool(values.isnan().any()):
        raise ValueError("encode: the encoder's weights contain NaN or Inf, or overflow; load another checkpoint")
    columns = columns if among is None else among[columns]
    if isinstance(selection, PerLatent):
        return from_entries(values, rows, columns, size)
    return SparseCodes(values, columns.int(), _starts(rows, size[0]), size[1])


def _restricted(selection: Selection, among: Int[Tensor, " some"]) -> Selection:
    """The selection over W_enc[among]."""
    match selection:
        case PerLatent(budgets):
            return PerLatent(budgets[among])
        case Above(thresholds):
            return Above(thresholds[among])
        case _:
            return selection


def _per_row(problem: Problem, ks: Int[Tensor, " rows"]) -> Entries:
    """The ks[r] largest positive entries of each row r."""
    lower, upper = _bounds(problem, problem.bias)
    n_rows, n_groups = lower.shape
    starts = torch.arange(n_rows + 1, device=ks.device) * n_groups
    reached = cuts(lower.view(-1), starts, ks).bits.view(torch.float32)
    pairs = _proposed(upper(), torch.where(ks > 0, reached, torch.inf)[:, None])
    return _decided(problem, pairs, lambda scores, some: largest(scores.view(-1), _starts(some[0], n_rows) * GROUP, ks))


def _per_batch(problem: Problem, k: int, expected: float | None) -> Entries:
    """The k largest positive entries of the whole matrix."""
    if k <= 0:
        return _nothing(problem)
    lower, upper = _bounds(problem, problem.bias)
    cut = _cut_of_batch(lower, k, expected)
    pairs = _proposed(upper(), cut)
    below = cut.nextafter(cut.new_tensor(-torch.inf)).clamp(min=0.0)
    entries = _decided(problem, pairs, lambda scores, _some: _over(scores, below))
    if len(entries.values) <= k:
        return entries
    best = torch.sort(entries.values, descending=True, stable=True).indices[:k]
    best = torch.sort(best).values
    return Entries(*(each[best] for each in entries))


def _cut_of_batch(lower: Float[Tensor, "rows groups"], k: int, expected: float | None) -> Float[Tensor, ""]:
    """A value ≥ 0 that the k largest positive entries reach, close to the smallest of them."""
    if expected is not None and 0 < HINT * expected < LARGEST:
        cut = lower.new_tensor(HINT * expected)
        if k <= int((lower >= cut).sum()) <= 2 * k:
            return cut
    if lower.numel() < k:
        return lower.new_zeros(())
    return lower.view(-1).topk(k, sorted=False).values.min().clamp(min=0.0)


def _above(problem: Problem, thresholds: Float[Tensor, " columns"]) -> Entries:
    """Every entry above its column's threshold."""
    finite = thresholds.to(torch.float32).nan_to_num(nan=torch.inf, posinf=LARGEST, neginf=-LARGEST).clamp(max=LARGEST)
    # the error of the product says nothing of rounding in this difference
    shifted = problem.bias - finite + 2.0**-20 * (problem.bias.abs() + finite.abs())
    pairs = _proposed(_bounds(problem, shifted)[1](), problem.bias.new_zeros(()))
    n_groups = -(-len(finite) // GROUP)
    by_group = thresholds.new_full((n_groups * GROUP,), torch.inf, dtype=torch.float32)
    by_group[: len(thresholds)] = thresholds.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)
    by_group = by_group.view(n_groups, GROUP)
    return _decided(problem, pairs, lambda scores, some: _over(scores, by_group[some[1]]))


def _over(scores: Float[Tensor, "pairs group"], below: Float[Tensor, "..."]) -> Int[Tensor, " taken"]:
    """Positions of the scores above `below`, and of NaN."""
    return torch.logical_not(scores <= below).view(-1).nonzero().squeeze(1)


def _bounds(problem: Problem, bias: Tensor) -> tuple[Float[Tensor, "rows groups"], Callable[[], Tensor]]:
    """Maxima of the groups less their error; and, made in their place when called, maxima plus their error."""
    bounds = group_maxima(*problem._replace(bias=bias))
    n_groups = bounds.shape[1]
    errors = problem.right.error.new_zeros(n_groups * GROUP)
    errors[: len(problem.right.error)] = problem.right.error
    outer = problem.left.error[:, None], errors.view(n_groups, GROUP).amax(1)[None, :]
    bounds.addcmul_(*outer, value=-1)
    return bounds, lambda: bounds.addcmul_(*outer, value=2)


def _proposed(upper: Float[Tensor, "rows groups"], cut: Float[Tensor, "..."]) -> Pairs:
    """Row and group of each maximum that is positive and reaches the cut, by row, then by group."""
    rows, groups = (upper >= cut.clamp(min=SMALLEST)).nonzero().unbind(1)
    return rows.contiguous(), groups.contiguous()


def _decided(problem: Problem, pairs: Pairs, decide: Callable[[Tensor, Pairs], Tensor]) -> Entries:
    """The entries of the proposed groups that `decide` takes: scores of some pairs → positions in the scores."""
    parts = []
    for some in _blocks(pairs, problem):
        scores = exact_groups(*problem, some)
        at = decide(scores, some)
        rows, groups = some[0][at // GROUP], some[1][at // GROUP]
        parts.append(Entries(scores.view(-1)[at], rows, groups * GROUP + at % GROUP))
    if not parts:
        return _nothing(problem)
    return parts[0] if len(parts) == 1 else Entries(*(torch.cat(each) for each in zip(*parts, strict=True)))


def _blocks(pairs: Pairs, problem: Problem) -> Iterator[Pairs]:
    """The pairs in blocks of whole rows, whose scores stay small."""
    rows, groups = pairs
    n_rows, n_columns = len(problem.left.exact), len(problem.right.exact)
    most = max(FEWEST_SCORES, min(MOST_SCORES, n_rows * n_columns // 8)) // GROUP
    first, row_ends = 0, _starts(rows, n_rows)[1:].tolist() if len(rows) > most else [len(rows)]
    while first < len(rows):
        fitting = bisect_right(row_ends, first + most)  # number of rows that end within reach
        end = row_ends[max(fitting - 1, 0)]
        if end <= first:  # the next row alone is larger
            end = row_ends[bisect_right(row_ends, first)]
        yield rows[first:end], groups[first:end]
        first = end


def _starts(rows: Int[Tensor, " sorted"], n_rows: int) -> Int[Tensor, " n_rows+1"]:
    """Where each row begins in its sorted list, and the end of the last (int64)."""
    return torch.searchsorted(rows, torch.arange(n_rows + 1, device=rows.device))


def _nothing(problem: Problem) -> Entries:
    nowhere = torch.empty(0, dtype=torch.int64, device=problem.bias.device)
    return Entries(problem.bias.new_empty(0), nowhere, nowhere)
