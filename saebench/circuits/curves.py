"""Curves of faithfulness and completeness over thresholds, for a family of nodes.

Decisions: thresholds are spread evenly in the logarithm from the strongest effect down four decades, so that every
family is cut from one node to nearly all. Random circuits have the sizes of the features' and are drawn from the nodes
that have any effect.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from saebench.circuits.ablation import Judge, complement, nothing
from saebench.circuits.effects import NodeSums, split_key
from saebench.circuits.graph import CurvePoint
from saebench.circuits.states import Sites

DECADES = 4
Cut = Callable[[str, NodeSums], "np.ndarray"]
"""(site, its nodes) → which of them are in the circuit."""


def thresholds(effects: Mapping[str, NodeSums], n: int, also: float | None = None) -> list[float]:
    """Where to cut a family's nodes, falling; `also` is among them."""
    strongest = max((float(np.abs(own.effect).max()) for own in effects.values() if len(own.effect)), default=0.0)
    if not strongest:
        return []
    spread = np.geomspace(strongest * 0.999, strongest / 10**DECADES, n).tolist()
    return sorted({*spread, *([also] if also is not None else [])}, reverse=True)


def kept_above(
    judge: Judge, effects: Mapping[str, NodeSums], threshold: float, by_position: bool
) -> tuple[dict[str, Tensor], int]:
    """The circuit of all nodes at or above a threshold, and how many they are."""
    return chosen(judge, effects, lambda _, own: np.abs(own.effect) >= threshold, by_position)


def chosen(judge: Judge, effects: Mapping[str, NodeSums], cut: Cut, by_position: bool) -> tuple[dict[str, Tensor], int]:
    """The circuit of the nodes that `cut` marks, and how many they are."""
    kept, n = nothing(judge.sites, judge.means), 0
    for site in judge.sites:
        own = effects[site.hook_point]
        keys = own.keys[cut(site.hook_point, own)]
        n += len(keys)
        rows = kept[site.hook_point]
        for key in keys.tolist():
            node, position = split_key(site, key, by_position)
            if position is None:
                rows[:, node] = True
            elif len(rows) > 1:
                rows[position, node] = True
    return kept, n


def judged(judge: Judge, kept: Mapping[str, Tensor], n: int, threshold: float) -> CurvePoint:
    """One point: the circuit, and everything but it."""
    return CurvePoint(
        threshold=threshold,
        n_nodes=n,
        faithfulness=judge.faithfulness(kept),
        completeness=judge.faithfulness(complement(kept)),
    )


def random_circuit(
    judge: Judge, effects: Mapping[str, NodeSums], n: int, seed: int, by_position: bool
) -> tuple[dict[str, Tensor], int]:
    """As many nodes, drawn from those of all sites that have an effect."""
    sizes = [len(effects[site.hook_point].keys) for site in judge.sites]
    drawn = np.zeros(sum(sizes), bool)
    active = np.flatnonzero(np.concatenate([effects[site.hook_point].effect for site in judge.sites]) != 0)
    drawn[np.random.default_rng(seed).choice(active, min(n, len(active)), replace=False)] = True
    own = dict(zip((s.hook_point for s in judge.sites), np.split(drawn, np.cumsum(sizes)[:-1]), strict=True))
    return chosen(judge, effects, lambda name, _: own[name], by_position)


def error_share(sites: Sites, effects: Mapping[str, NodeSums], by_position: bool) -> float:
    """The share of error nodes in the sum of all absolute effects (input tokens aside)."""
    errors = everything = 0.0
    for site in sites:
        own = effects[site.hook_point]
        is_error = np.array([split_key(site, key, by_position)[0] == site.n_nodes for key in own.keys.tolist()], bool)
        errors += float(np.abs(own.effect[is_error]).sum())
        everything += float(np.abs(own.effect).sum())
    return errors / everything if everything else 0.0


def correlations(
    estimate: Float[np.ndarray, " nodes"], exact: Float[np.ndarray, " nodes"]
) -> tuple[float, float] | None:
    """(Pearson, Spearman); None where one of the two does not vary."""
    from scipy.stats import pearsonr, spearmanr

    if len(exact) < 3 or not np.ptp(exact) or not np.ptp(estimate):
        return None
    return float(pearsonr(estimate, exact).statistic), float(spearmanr(estimate, exact).statistic)


def sample(own: NodeSums, n: int, seed: int) -> Sequence[int]:
    """Rows of nodes to compare: half the strongest, half drawn from the rest."""
    order = np.argsort(-np.abs(own.effect), kind="stable")
    strongest, rest = order[: n // 2], order[n // 2 :]
    rest = rest[own.effect[rest] != 0]
    drawn = np.random.default_rng(seed).choice(rest, min(n - n // 2, len(rest)), replace=False)
    return sorted({*strongest.tolist(), *drawn.tolist()})
