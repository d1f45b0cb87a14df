"""Pruning: against the matrix written out, against sorting by hand, and by what must hold of every pruned circuit."""

import numpy as np
import pytest
import synthetic_circuit

from saebench.circuits.graph import Circuit, Edge, Node
from saebench.circuits.prune import (
    by_influence,
    by_thresholds,
    cumulative,
    influence,
    least,
    links,
    output_weights,
    strongest,
)


def node(name: str, kind: str = "feature", effect: float = 1.0) -> Node:
    return Node(id=f"{name}/1", kind=kind, site=name, layer=0, feature=1, effect=effect)


def tiny(edges: dict[str, float], *nodes: Node) -> Circuit:
    base = synthetic_circuit.build(n_nodes=9, n_edges=1)
    named = [(pair[0], pair[1], weight) for pair, weight in edges.items()]
    drawn = [Edge(source=f"{a}/1", target=f"{b}/1", weight=weight) for a, b, weight in named]
    return base.model_copy(update={"nodes": list(nodes), "edges": drawn, "supernodes": []})


def by_loops(circuit: Circuit) -> list[float]:
    """w(A + A² + …) with matrices of plain lists."""
    place = {one.id: i for i, one in enumerate(circuit.nodes)}
    n = len(place)
    matrix = [[0.0] * n for _ in range(n)]
    for edge in circuit.edges:
        matrix[place[edge.target]][place[edge.source]] += abs(edge.weight)
    for row in matrix:
        total = sum(row)
        for j in range(n):
            row[j] = row[j] / total if total else 0.0
    passing, total = list(output_weights(circuit)), [0.0] * n
    for _ in range(n):
        passing = [sum(passing[i] * matrix[i][j] for i in range(n)) for j in range(n)]
        total = [a + b for a, b in zip(total, passing, strict=True)]
    return total


@pytest.mark.parametrize("seed", range(4))
def test_influence_is_the_sum_of_powers(seed: int):
    circuit = synthetic_circuit.build(n_nodes=40, n_edges=150, seed=seed, positions=bool(seed % 2))
    found = influence(links(circuit), output_weights(circuit))
    assert found == pytest.approx(by_loops(circuit), abs=1e-12)


def test_outputs_are_logits_by_effect_or_what_feeds_nothing():
    a, b = node("a", effect=3), node("b", "logit", effect=-1)
    assert output_weights(tiny({"ab": 1}, a, b)).tolist() == [0, 1]
    one, two = node("c", "logit", effect=3), node("d", "logit", effect=-1)
    assert output_weights(tiny({}, one, two)).tolist() == [0.75, 0.25]
    assert output_weights(tiny({"ab": 1}, a, node("b", effect=0))).tolist() == [0, 1]


def test_a_circle_has_no_influence():
    circuit = tiny({"ab": 1, "ba": 1, "bc": 1}, node("a"), node("b"), node("c", "logit"))
    with pytest.raises(ValueError, match="round in a circle"):
        by_influence(circuit)


def test_cumulative_and_least_agree_with_counting():
    scores = np.array([0.1, 0.4, 0.2, 0.3])
    assert cumulative(scores) == pytest.approx([1.0, 0.4, 0.9, 0.7])
    assert [least(scores, share) for share in (0.3, 0.4, 0.65, 0.8, 1)] == [0.4, 0.4, 0.3, 0.2, 0.1]
    assert least(np.zeros(3), 0.5) == 0


def test_thresholds_keep_what_is_strong_either_way():
    circuit = synthetic_circuit.build()
    found = by_thresholds(circuit, 0.2, 0.02)
    strong = {one.id for one in circuit.nodes if abs(one.effect) >= 0.2 or one.kind == "logit"}
    assert [one.id for one in found.nodes] == [one.id for one in circuit.nodes if one.id in strong]
    assert found.edges == [
        e for e in circuit.edges if e.source in strong and e.target in strong and abs(e.weight) >= 0.02
    ]
    assert (found.node_threshold, found.edge_threshold) == (0.2, 0.02)
    assert Circuit.model_validate(found.model_dump()) == found
    assert all(set(group.nodes) <= strong for group in found.supernodes)


@pytest.mark.parametrize("seed", range(5))
def test_pruning_by_influence_keeps_the_share_and_leaves_no_loose_end(seed: int):
    circuit = synthetic_circuit.build(n_nodes=120, n_edges=700, seed=seed)
    found = by_influence(circuit, 0.8, 0.98)
    assert Circuit.model_validate(found.model_dump()) == found
    assert 0 < len(found.nodes) < len(circuit.nodes)
    through = dict(zip((one.id for one in circuit.nodes), by_loops(circuit), strict=True))
    kept = {one.id for one in found.nodes}
    inner = [one.id for one in circuit.nodes if one.kind in {"feature", "error"}]
    ranked = sorted(through, key=lambda one: -through[one])
    reached, needed = 0.0, []
    for one in ranked:
        if reached < 0.8 * sum(through.values()):
            needed.append(one)
        reached += through[one]
    assert kept & set(inner) <= set(needed)
    had = {True: {e.source for e in circuit.edges}, False: {e.target for e in circuit.edges}}
    has = {True: {e.source for e in found.edges}, False: {e.target for e in found.edges}}
    for one in kept & set(inner):
        for side in (True, False):
            assert one in has[side] or one not in had[side]
    assert {one.id for one in circuit.nodes if one.kind in {"token", "logit"}} <= kept


def test_everything_stays_at_full_shares():
    circuit = tiny({"ab": 2, "bc": -1, "ac": 1}, node("a", "token"), node("b"), node("c", "logit"))
    assert by_influence(circuit, 1, 1) == circuit


def test_loose_ends_go_one_after_the_other():
    """a feeds b, b feeds c, c feeds hardly anything: with c gone, b and then a are left hanging."""
    nodes = [node("a"), node("b"), node("c"), node("d"), node("z", "logit")]
    circuit = tiny({"ab": 1, "bc": 1, "cz": 0.001, "dz": 1}, *nodes)
    assert [one.id for one in by_influence(circuit, 1, 0.9).nodes] == ["d/1", "z/1"]


def test_the_strongest_edges():
    circuit = synthetic_circuit.build()
    sizes = sorted((abs(edge.weight) for edge in circuit.edges), reverse=True)
    assert [abs(edge.weight) for edge in strongest(circuit.edges, 7)] == sizes[:7]
