"""Smaller circuits: by thresholds, by share of the influence on the output, by the strongest edges.

Influence is circuit-tracer's: with A the matrix of |weights| (targets in rows, each row summing to 1) and w the weights
of the outputs, w(A + A² + …) says how much of the output passes through each node. A circuit has no cycles, so the sum
ends after as many terms as the longest path has edges, and no matrix is made: each term is one pass over the edges.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from saebench.circuits.graph import Circuit, Edge

DRAWN_EDGES = 600
NODE_SHARE, EDGE_SHARE = 0.8, 0.98


class Links(NamedTuple):
    """The edges of a circuit as arrays: numbers of nodes, in the order of the circuit's nodes."""

    sources: Int[np.ndarray, " edges"]
    targets: Int[np.ndarray, " edges"]
    weights: Float[np.ndarray, " edges"]


def links(circuit: Circuit) -> Links:
    """The edges of a circuit by the places of its nodes."""
    place = {node.id: i for i, node in enumerate(circuit.nodes)}
    return Links(
        np.array([place[edge.source] for edge in circuit.edges], np.int64),
        np.array([place[edge.target] for edge in circuit.edges], np.int64),
        np.array([edge.weight for edge in circuit.edges], np.float64),
    )


def shares(edges: Links, n_nodes: int) -> Float[np.ndarray, " edges"]:
    """|weight| of each edge as a share of all that go to its target."""
    sizes = np.abs(edges.weights)
    into = np.bincount(edges.targets, sizes, n_nodes)[edges.targets]
    return np.divide(sizes, into, out=np.zeros_like(sizes), where=into > 0)


def influence(edges: Links, ends: Float[np.ndarray, " nodes"]) -> Float[np.ndarray, " nodes"]:
    """How much of the outputs, weighted by `ends`, passes through each node: w(A + A² + …).

    Raises:
        ValueError: the edges go round in a circle.
    """
    share = shares(edges, len(ends))
    total = np.zeros_like(ends, dtype=np.float64)
    passing: np.ndarray = np.asarray(ends, np.float64)
    for _ in range(len(ends) + 1):
        passing = np.bincount(edges.sources, share * passing[edges.targets], len(ends))
        if not passing.any():
            return total
        total += passing
    raise ValueError("the edges go round in a circle, so influence has no end")


def output_weights(circuit: Circuit) -> Float[np.ndarray, " nodes"]:
    """Weights of the outputs, summing to 1: the logits by their effects; where there are none, what feeds nothing."""
    feeds = {edge.source for edge in circuit.edges}
    logits = np.array([node.kind == "logit" for node in circuit.nodes], bool)
    ends = logits if logits.any() else np.array([node.id not in feeds for node in circuit.nodes], bool)
    sizes = np.abs([node.effect for node in circuit.nodes]) * ends
    if not sizes.any():
        sizes = ends.astype(np.float64)
    return sizes / max(sizes.sum(), 1e-300)


def cumulative(scores: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Of each score: the share of the sum that it and all larger ones make up."""
    order = np.argsort(-scores, kind="stable")
    out = np.zeros_like(scores, dtype=np.float64)
    out[order] = np.cumsum(scores[order]) / max(float(scores.sum()), 1e-300)
    return out


def least(scores: Float[np.ndarray, " n"], share: float) -> float:
    """The score from which on, strongest first, a share of the sum is reached."""
    if not len(scores) or not scores.any():
        return 0.0
    falling = np.sort(scores)[::-1]
    reached = np.cumsum(falling) / falling.sum()
    return float(falling[min(int(np.searchsorted(reached, share)), len(falling) - 1)])


def by_thresholds(circuit: Circuit, node: float, edge: float) -> Circuit:
    """Nodes whose effect is at least so large either way, all logits, and edges between them at least so strong."""
    strong = np.array([abs(one.effect) >= node or one.kind == "logit" for one in circuit.nodes], bool)
    edges = links(circuit)
    joined = strong[edges.sources] & strong[edges.targets] & (np.abs(edges.weights) >= edge)
    kept = part(circuit, strong, joined)
    return kept.model_copy(
        update={
            "node_threshold": max(node, circuit.node_threshold),
            "edge_threshold": max(edge, circuit.edge_threshold),
        }
    )


def by_influence(circuit: Circuit, nodes: float = NODE_SHARE, edges: float = EDGE_SHARE) -> Circuit:
    """The strongest nodes that carry a share `nodes` of the influence, of their edges those that carry a share `edges`,
    and of these nodes those that are left hanging nowhere. Tokens and outputs always stay.

    Raises:
        ValueError: the edges go round in a circle.
    """
    all_links, ends = links(circuit), output_weights(circuit)
    through = influence(all_links, ends)
    fixed = np.array([node.kind in {"token", "logit"} for node in circuit.nodes], bool) | (ends > 0)
    kept = (through >= least(through, nodes)) | fixed
    inside = kept[all_links.sources] & kept[all_links.targets]
    pruned = Links(*(values[inside] for values in all_links))
    score = shares(pruned, len(ends)) * (influence(pruned, ends) + ends)[pruned.targets]
    joined = np.zeros(len(inside), bool)
    joined[np.flatnonzero(inside)[score >= least(score, edges)]] = True
    return part(circuit, *_without_loose_ends(all_links, kept, joined, fixed))


def strongest(edges: Sequence[Edge], n: int = DRAWN_EDGES) -> list[Edge]:
    """The edges of the largest weights either way, strongest first."""
    return sorted(edges, key=lambda edge: -abs(edge.weight))[:n]


def part(circuit: Circuit, nodes: Bool[np.ndarray, " nodes"], edges: Bool[np.ndarray, " edges"]) -> Circuit:
    """Some nodes and edges of a circuit; supernodes keep of their nodes those that are left."""
    kept = [node for node, chosen in zip(circuit.nodes, nodes, strict=True) if chosen]
    known = {node.id for node in kept}
    groups = [
        one.model_copy(update={"nodes": [node for node in one.nodes if node in known]}) for one in circuit.supernodes
    ]
    return circuit.model_copy(
        update={
            "nodes": kept,
            "edges": [edge for edge, chosen in zip(circuit.edges, edges, strict=True) if chosen],
            "supernodes": [one for one in groups if one.nodes],
            "pinned": [node for node in circuit.pinned if node in known],
        }
    )


def _without_loose_ends(
    edges: Links,
    nodes: Bool[np.ndarray, " nodes"],
    joined: Bool[np.ndarray, " edges"],
    fixed: Bool[np.ndarray, " nodes"],
) -> tuple[Bool[np.ndarray, " nodes"], Bool[np.ndarray, " edges"]]:
    """Take away, again and again, nodes that had inputs, or outputs, and have none of them left."""
    n = len(nodes)
    before = [np.bincount(ends, minlength=n) > 0 for ends in (edges.sources, edges.targets)]
    while True:
        now = [np.bincount(ends[joined], minlength=n) > 0 for ends in (edges.sources, edges.targets)]
        hold = fixed | ((now[0] | ~before[0]) & (now[1] | ~before[1]))
        if (hold | ~nodes).all():
            return nodes, joined
        nodes = nodes & hold
        joined = joined & nodes[edges.sources] & nodes[edges.targets]
