"""A node of a circuit with its strongest inputs and outputs; an edge; supernodes."""

from collections.abc import Sequence

from saebench.circuits import Circuit, Edge, Node
from saebench.circuits.graph import Supernode
from saebench.circuits.prune import strongest
from web.errors import ProblemError
from web.models.circuits import EdgePage, NeighbourNode, NodePage
from web.views.circuit_meaning import names, promoting
from web.workspace import Workspace

NEIGHBOURS = 50


def node_page(here: Workspace, circuit: Circuit, node_id: str) -> NodePage:
    """A node. Raises ProblemError 404."""
    node = existing_node(circuit, node_id)
    known = {one.id: one for one in circuit.nodes}
    inputs = [edge for edge in circuit.edges if edge.target == node_id]
    outputs = [edge for edge in circuit.edges if edge.source == node_id]
    shown = strongest(inputs, NEIGHBOURS), strongest(outputs, NEIGHBOURS)
    ends = [known[edge.source] for edge in shown[0]] + [known[edge.target] for edge in shown[1]]
    by_id = {one.id: one for one in promoting(here, circuit, [node, *ends])}
    said = names(here, circuit, [node, *ends])
    into = _into(circuit.edges, {edge.target for edge in (*shown[0], *shown[1])})

    def neighbours(edges: Sequence[Edge], *, upstream: bool) -> list[NeighbourNode]:
        rows = []
        for edge in edges:
            other = by_id[edge.source if upstream else edge.target]
            share = abs(edge.weight) / (into[edge.target] or 1)
            rows.append(NeighbourNode(node=other, said=said.get(other.id), weight=edge.weight, share=share))
        return rows

    sae = circuit.saes.get(node.site) if node.kind == "feature" else None
    return NodePage(
        circuit=circuit.id,
        node=by_id[node.id],
        said=said.get(node.id),
        sae=sae,
        corpus=_indexed(here, sae, node),
        supernode=next((group.name for group in circuit.supernodes if node_id in group.nodes), None),
        inputs=neighbours(shown[0], upstream=True),
        outputs=neighbours(shown[1], upstream=False),
        n_inputs=len(inputs),
        n_outputs=len(outputs),
    )


def edge_page(here: Workspace, circuit: Circuit, source: str, target: str) -> EdgePage:
    """An edge. Raises ProblemError 404."""
    ends = existing_node(circuit, source), existing_node(circuit, target)
    edge = next((one for one in circuit.edges if (one.source, one.target) == (source, target)), None)
    if edge is None:
        cause = f"Circuit {circuit.id} has no edge from {source} to {target}."
        raise ProblemError(404, "No such edge", cause, "A node's page lists its edges.")
    said = names(here, circuit, ends)
    upstream, downstream = promoting(here, circuit, ends)
    return EdgePage(
        circuit=circuit.id,
        edge=edge,
        source=upstream,
        target=downstream,
        source_said=said.get(source),
        target_said=said.get(target),
        share=abs(edge.weight) / (_into(circuit.edges, {target})[target] or 1),
    )


def existing_node(circuit: Circuit, node_id: str) -> Node:
    """A node that is there. Raises ProblemError 404."""
    for node in circuit.nodes:
        if node.id == node_id:
            return node
    cause = f"Circuit {circuit.id} has no node {node_id!r}."
    raise ProblemError(404, "No such node", cause, "The table below the graph lists those that it has.")


def grouped(circuit: Circuit, name: str, nodes: Sequence[str]) -> Circuit:
    """The circuit with nodes put together under a name; they leave the supernodes that they were in. Raises
    ProblemError 404.
    """
    members = list(dict.fromkeys(nodes))
    for one in members:
        existing_node(circuit, one)
    others = (
        group.model_copy(update={"nodes": [one for one in group.nodes if one not in members]})
        for group in circuit.supernodes
        if group.name != name
    )
    kept = [group for group in others if group.nodes]
    return circuit.model_copy(update={"supernodes": [*kept, Supernode(name=name, nodes=members)]})


def taken_apart(circuit: Circuit, name: str) -> Circuit:
    """The circuit without a supernode; its nodes stay. Raises ProblemError 404."""
    if all(group.name != name for group in circuit.supernodes):
        cause = f"Circuit {circuit.id} has no supernode {name!r}."
        raise ProblemError(404, "No such supernode", cause, "Load the page again.")
    return circuit.model_copy(update={"supernodes": [group for group in circuit.supernodes if group.name != name]})


def _into(edges: Sequence[Edge], targets: set[str]) -> dict[str, float]:
    """Sum of the |weights| that go to each of some nodes."""
    sums = dict.fromkeys(targets, 0.0)
    for edge in edges:
        if edge.target in sums:
            sums[edge.target] += abs(edge.weight)
    return sums


def _indexed(here: Workspace, sae: str | None, node: Node) -> str | None:
    """The corpus on which a feature's card can be shown."""
    if sae is None or node.feature is None:
        return None
    index = next((row for row in here.store.indexes() if row["sae_id"] == sae), None)
    return index["corpus_id"] if index is not None and node.feature < index["n_features"] else None
