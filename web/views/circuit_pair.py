"""Two circuits side by side."""

from saebench.circuits import Node
from saebench.circuits.comparison import CircuitComparison, compare_circuits
from web.models.circuits import CircuitComparePage, ComparedEdge, ComparedNode, Show
from web.views.circuit_meaning import names, promoting
from web.workspace import Workspace

SIZE = 50
SHOWN: dict[Show, str] = {"shared": "in both", "a": "only in the first", "b": "only in the second"}


def circuit_pair(here: Workspace, a: str | None, b: str | None, show: Show, page: int) -> CircuitComparePage:
    """What two circuits share. Raises ProblemError 404."""
    known = [row.id for row in here.circuits.summaries() if row.problem is None]
    frame = CircuitComparePage(circuits=known, a=a, b=b, show=show, page=page, size=SIZE)
    if not a or not b:
        return frame
    circuits = here.circuits.find(a), here.circuits.find(b)
    found = compare_circuits(*circuits)
    said = names(here, circuits[1], circuits[1].nodes) | names(here, circuits[0], circuits[0].nodes)
    nodes, edges = _shown(found, show)
    part = slice((page - 1) * SIZE, page * SIZE)
    rows = nodes[part]
    of = circuits[1 if show == "b" else 0]
    for row, node in zip(rows, promoting(here, of, [row.node for row in rows]), strict=True):
        row.said, row.node = said.get(row.node.id), node
    return frame.model_copy(
        update={
            "summed": found.summed,
            "n_nodes": {"shared": len(found.shared), "a": len(found.only_a), "b": len(found.only_b)},
            "n_edges": {
                "shared": len(found.shared_edges), "a": len(found.only_a_edges), "b": len(found.only_b_edges),
            },
            "nodes": rows,
            "edges": edges[part],
            "ends": _ends(found, edges[part]),
        }
    )  # fmt: skip


def _ends(found: CircuitComparison, edges: list[ComparedEdge]) -> dict[str, Node]:
    known = {node.id: node for node in (*(pair.a for pair in found.shared), *found.only_a, *found.only_b)}
    return {end: known[end] for edge in edges for end in (edge.source, edge.target)}


def _shown(found: CircuitComparison, show: Show) -> tuple[list[ComparedNode], list[ComparedEdge]]:
    if show == "shared":
        return [
            ComparedNode(node=pair.a, said=None, effect_a=pair.a.effect, effect_b=pair.b.effect)
            for pair in found.shared
        ], [
            ComparedEdge(source=pair.a.source, target=pair.a.target, weight_a=pair.a.weight, weight_b=pair.b.weight)
            for pair in found.shared_edges
        ]
    first = show == "a"
    return [
        ComparedNode(
            node=node, said=None, effect_a=node.effect if first else None, effect_b=None if first else node.effect
        )
        for node in (found.only_a if first else found.only_b)
    ], [
        ComparedEdge(
            source=edge.source, target=edge.target,
            weight_a=edge.weight if first else None, weight_b=None if first else edge.weight,
        )
        for edge in (found.only_a_edges if first else found.only_b_edges)
    ]  # fmt: skip
