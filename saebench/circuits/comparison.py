"""What two circuits have in common. A feature of one SAE is never that of another, whatever its number."""

import re
from collections import defaultdict
from typing import NamedTuple

from saebench.circuits.graph import Circuit, Edge, Node

Key = tuple[str, str | None]
"""A node's id, and the SAE that reads its site."""


class SharedNode(NamedTuple):
    """A node of both, as each has it."""

    a: Node
    b: Node


class SharedEdge(NamedTuple):
    """An edge of both, as each has it."""

    a: Edge
    b: Edge


class CircuitComparison(NamedTuple):
    """Two circuits side by side, each list strongest first.

    Attributes:
        shared: nodes of both, by the smaller of their effects.
        only_a: nodes of the first alone; only_b: of the second.
        shared_edges: edges of both, by the smaller of their weights.
        only_a_edges: edges of the first alone; only_b_edges: of the second.
        summed: whether positions were summed over because only one of the circuits keeps them apart.
    """

    shared: list[SharedNode]
    only_a: list[Node]
    only_b: list[Node]
    shared_edges: list[SharedEdge]
    only_a_edges: list[Edge]
    only_b_edges: list[Edge]
    summed: bool


def compare_circuits(a: Circuit, b: Circuit) -> CircuitComparison:
    """Match nodes and edges of two circuits by what they are, and, where both keep positions apart, where they are."""
    summed = a.aggregation != b.aggregation
    if summed:
        a, b = summed_over_positions(a), summed_over_positions(b)
    keys = [_keys(circuit) for circuit in (a, b)]
    nodes = [{own[node.id]: node for node in circuit.nodes} for circuit, own in zip((a, b), keys, strict=True)]
    edges = [
        {(own[edge.source], own[edge.target]): edge for edge in circuit.edges}
        for circuit, own in zip((a, b), keys, strict=True)
    ]
    both = [SharedNode(node, nodes[1][key]) for key, node in nodes[0].items() if key in nodes[1]]
    joined = [SharedEdge(edge, edges[1][key]) for key, edge in edges[0].items() if key in edges[1]]
    return CircuitComparison(
        sorted(both, key=lambda pair: -min(abs(pair.a.effect), abs(pair.b.effect))),
        _strongest_nodes([node for key, node in nodes[0].items() if key not in nodes[1]]),
        _strongest_nodes([node for key, node in nodes[1].items() if key not in nodes[0]]),
        sorted(joined, key=lambda pair: -min(abs(pair.a.weight), abs(pair.b.weight))),
        _strongest_edges([edge for key, edge in edges[0].items() if key not in edges[1]]),
        _strongest_edges([edge for key, edge in edges[1].items() if key not in edges[0]]),
        summed,
    )


def summed_over_positions(circuit: Circuit) -> Circuit:
    """The circuit with the nodes of one feature at several positions as one: effects and weights add up."""
    if circuit.aggregation == "sum":
        return circuit
    nodes: dict[str, Node] = {}
    for node in circuit.nodes:
        plain = _without_position(node.id)
        known = nodes.get(plain)
        if known is None:
            nodes[plain] = node.model_copy(update={"id": plain, "position": None})
        else:
            nodes[plain] = known.model_copy(
                update={
                    "effect": known.effect + node.effect,
                    "activation": max(known.activation, node.activation),
                }
            )
    weights: defaultdict[tuple[str, str], float] = defaultdict(float)
    for edge in circuit.edges:
        weights[_without_position(edge.source), _without_position(edge.target)] += edge.weight
    edges = [Edge(source=source, target=target, weight=weight) for (source, target), weight in weights.items()]
    return circuit.model_copy(
        update={
            "aggregation": "sum", "nodes": list(nodes.values()), "edges": edges, "supernodes": [], "pinned": [],
        }
    )  # fmt: skip


def _keys(circuit: Circuit) -> dict[str, Key]:
    return {node.id: (node.id, circuit.saes.get(node.site)) for node in circuit.nodes}


def _without_position(identifier: str) -> str:
    return re.sub(r"@\d+$", "", identifier)


def _strongest_nodes(nodes: list[Node]) -> list[Node]:
    return sorted(nodes, key=lambda node: -abs(node.effect))


def _strongest_edges(edges: list[Edge]) -> list[Edge]:
    return sorted(edges, key=lambda edge: -abs(edge.weight))
