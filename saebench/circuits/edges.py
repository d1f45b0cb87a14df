"""Edges: how much of a node's effect goes directly through another (Marks et al. 2024, section 3 and appendix).

    weight(u → v) = ∂metric/∂v · ∂v/∂u · (u_clean − u_patched)

Decisions: one clean pass in which every site is cut (its value goes on as a leaf of its own), so a vector–Jacobian
product from a site reaches just the sites that act on it with no other site between: these are the stop-gradients.
∂v/∂u is that of the whole path between the two, through attention and MLP as they are. Sums over positions on both
sides cost one product per downstream node and batch. Weights out of a node, over all nodes, add up to its effect by
gradients at the clean prompt (the chain rule).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.circuits.batches import Batch, Metric
from saebench.circuits.decomposition import Dictionary, Parts, values_gradient
from saebench.circuits.effects import error_keys, node_keys
from saebench.circuits.states import Patch, Sites
from saebench.errors import UserError
from saebench.kernels import SparseCodes
from saebench.lm import LanguageModel

Kept = Mapping[str, Int[Tensor, " nodes"]]
"""Site → keys of the nodes that are kept, rising."""


@dataclass(frozen=True)
class EdgeSums:
    """Weights of edges, summed over examples. Nodes are numbered site by site in the order of `Kept`; behind them come
    the metric's terms."""

    source: Int[np.ndarray, " edges"]
    target: Int[np.ndarray, " edges"]
    weight: Float[np.ndarray, " edges"]

    @staticmethod
    def merged(parts: "Sequence[EdgeSums]", n_nodes: int) -> "EdgeSums":
        """The sums over the examples of all parts."""
        source, target, weight = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("source", "target", "weight")
        )
        place, at = np.unique(source * n_nodes + target, return_inverse=True)
        return EdgeSums(place // n_nodes, place % n_nodes, np.bincount(at, weight, len(place)))


@dataclass(frozen=True)
class Upstream:
    """What the kept nodes of a site would take away, entry by entry: `rows` are the nodes."""

    rows: Int[Tensor, " entries"]
    tokens: Int[Tensor, " entries"]
    vectors: Float[Tensor, "entries width"]
    n: int

    def weights(self, gradient: Float[Tensor, "tokens width"]) -> Float[Tensor, " nodes"]:
        """gradient · what each node takes away."""
        out = torch.zeros(self.n, dtype=torch.float64)
        return out.index_add_(0, self.rows, (self.vectors * gradient[self.tokens]).sum(1).double())


def edge_sums(
    lm: LanguageModel,
    batch: Batch,
    sites: Sites,
    parts: Mapping[str, Parts],
    patches: Mapping[str, Patch],
    gradients: Mapping[str, Float[Tensor, "tokens width"]],
    kept: Kept,
    metric: Metric,
    by_position: bool,
) -> EdgeSums:
    """Weights of a batch's edges between kept nodes, and from these to the terms of the metric.

    Raises:
        UserError: weights that are not finite.
    """
    context = batch.clean.shape[1]
    names = [site.hook_point for site in sites]
    first = dict(zip(names, np.cumsum([0, *(len(kept[name]) for name in names)])[:-1].tolist(), strict=True))
    n_kept = sum(len(kept[name]) for name in names)
    ups = {site.hook_point: _upstream(site, patches[site.hook_point], kept, context, by_position) for site in sites}
    rows: list[tuple[Tensor, int, Tensor]] = []
    before, leaves, terms = cut_pass(lm, batch, sites, metric)

    def add(found: Sequence[Tensor | None], reached: Sequence[str], target: int) -> None:
        for name, grad in zip(reached, found, strict=True):
            if grad is not None and ups[name].n:
                weight = ups[name].weights(grad.flatten(0, 1).float())
                at = weight.nonzero().squeeze(1)
                rows.append((at + first[name], target, weight[at]))

    for number, term in enumerate(terms.values()):
        found = torch.autograd.grad(term.sum(), [leaves[name] for name in names], retain_graph=True, allow_unused=True)
        add(found, names, n_kept + number)
    for place, site in enumerate(sites):
        reached = _reached(before[site.hook_point], names[:place], leaves)
        if not reached:
            continue
        for row, cotangent in _cotangents(
            site,
            parts[site.hook_point],
            gradients[site.hook_point],
            kept,
            context,
            by_position,
            before[site.hook_point],
        ):
            found = torch.autograd.grad(
                before[site.hook_point],
                [leaves[name] for name in reached],
                cotangent,
                retain_graph=True,
                allow_unused=True,
            )
            add(found, reached, first[site.hook_point] + row)
    return _collected(rows)


def cut_pass(
    lm: LanguageModel, batch: Batch, sites: Sites, metric: Metric
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """A clean pass cut at every site: what comes in there, the leaf that goes on, and the terms of the metric."""
    before: dict[str, Tensor] = {}
    leaves: dict[str, Tensor] = {}

    def cut(name: str) -> Callable[[Tensor], Tensor]:
        def change(value: Tensor) -> Tensor:
            before[name], leaves[name] = value, value.detach().requires_grad_()
            return leaves[name]

        return change

    with torch.enable_grad():
        terms = metric(lm.last_logits(batch.clean, {site.hook_point: cut(site.hook_point) for site in sites}), batch)
    return before, leaves, terms


def _reached(value: Tensor, upstream: Sequence[str], leaves: Mapping[str, Tensor]) -> list[str]:
    """The sites that act on a value directly."""
    if not value.requires_grad or not upstream:
        return []
    found = torch.autograd.grad(
        value, [leaves[name] for name in upstream], torch.ones_like(value), retain_graph=True, allow_unused=True
    )
    return [name for name, grad in zip(upstream, found, strict=True) if grad is not None]


def _upstream(site: Dictionary, patch: Patch, kept: Kept, context: int, by_position: bool) -> Upstream:
    keys = kept[site.hook_point]
    own = node_keys(site, patch.codes.tokens, patch.codes.latents, context, by_position)
    error = error_keys(site, len(patch.error), context, by_position)
    entries, tokens = torch.isin(own, keys).nonzero().squeeze(1), torch.isin(error, keys).nonzero().squeeze(1)
    vectors = patch.codes.values[entries, None] * site.directions[patch.codes.latents[entries].long()]
    return Upstream(
        torch.searchsorted(keys, torch.cat([own[entries], error[tokens]])),
        torch.cat([patch.codes.tokens[entries].long(), tokens]),
        torch.cat([vectors, patch.error[tokens]]),
        len(keys),
    )


def _cotangents(
    site: Dictionary,
    parts: Parts,
    gradient: Float[Tensor, "tokens width"],
    kept: Kept,
    context: int,
    by_position: bool,
    value: Tensor,
) -> Iterator[tuple[int, Tensor]]:
    """For each kept node its row and ∂metric/∂node · ∂node/∂x, in the shape of the value."""
    keys, x = kept[site.hook_point], value.detach().flatten(0, 1).float()
    weights = parts.codes.with_values(values_gradient(parts.codes, site.directions, gradient))
    own = node_keys(site, parts.codes.tokens, parts.codes.latents, context, by_position)
    error = error_keys(site, len(parts.error), context, by_position)
    of_errors: Tensor | None = None
    for row, key in enumerate(keys.tolist()):
        if key % (site.n_nodes + 1) == site.n_nodes:
            if of_errors is None:
                of_errors = gradient - site.reading(x, weights)
            cotangent = of_errors * (error == key)[:, None]
        else:
            mine: SparseCodes = weights.where(own == key)
            if not len(mine.values):
                continue
            cotangent = site.reading(x, mine)
        yield row, cotangent.view_as(value).to(value.dtype)


def _collected(rows: Sequence[tuple[Tensor, int, Tensor]]) -> EdgeSums:
    if not rows:
        return EdgeSums(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    source = torch.cat([at for at, _, _ in rows])
    target = torch.cat([torch.full_like(at, to) for at, to, _ in rows])
    weight = torch.cat([own for _, _, own in rows])
    if not bool(weight.isfinite().all()):
        raise UserError("weights of edges are not finite; look at the model's and the SAEs' weights")
    return EdgeSums(source.numpy(), target.numpy(), weight.numpy())
