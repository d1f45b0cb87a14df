"""Attribution graphs of circuit-tracer and Neuronpedia as circuits.

circuit-tracer gives the error of layer 5 at position 3 the id `0_5_3`, which is also that of feature 5 of layer 0. The
kind of a node, not its id, says what it is; a link that could start at either of two such nodes is left out, and the
provenance says how many were.
"""

import re
from collections import Counter

from saebench.circuits.attribution import ERROR, LOGIT, TOKEN, AttributionGraph, GraphNode
from saebench.circuits.graph import LOGITS, Circuit, Edge, Node, NodeKind, Prompt, Supernode, node_id
from saebench.circuits.prune import influence, links, output_weights
from saebench.errors import UserError

TOKENS = "hook_embed"
_OUTPUT = re.compile(r'Output "(.*?)"(?: \(p=[^)]*\))?', re.DOTALL)


def foreign_circuit(graph: AttributionGraph, circuit_id: str) -> Circuit:
    """A graph that another tool made. Effects are shares of the influence on its outputs.

    Raises:
        UserError: a link joins no node, two nodes are one, or the edges go round in a circle.
    """
    last = max((_layer(node) for node in graph.nodes if _kind(node) in {"feature", "error"}), default=-1) + 1
    nodes = [_node(graph, node, last) for node in graph.nodes]
    twice = [one for one, n in Counter(node.id for node in nodes).items() if n > 1]
    if twice:
        raise UserError(f"the graph has node {twice[0]!r} twice")
    owners: dict[str, list[Node]] = {}
    for theirs, ours in zip(graph.nodes, nodes, strict=True):
        owners.setdefault(theirs.node_id, []).append(ours)
    edges, left_out = _edges(graph, owners)
    circuit = Circuit(
        id=circuit_id,
        task=graph.metadata.slug or circuit_id,
        title=graph.metadata.prompt,
        method="attrib",
        aggregation="none",
        node_threshold=0.0,
        edge_threshold=0.0,
        n_examples=1,
        metric=0.0,
        sites=_sites(nodes),
        saes={},
        nodes=nodes,
        edges=edges,
        error_share=0.0,
        examples=[Prompt(clean=graph.metadata.prompt_tokens, answer=_answer(nodes))],
        supernodes=[
            Supernode(name=name, nodes=_known(owners, members)) for name, *members in graph.qParams.supernodes or []
        ],
        pinned=_known(owners, graph.qParams.pinned),
        provenance={
            "model": graph.metadata.scan,
            "imported": {"slug": graph.metadata.slug, "info": graph.metadata.info, "links_left_out": left_out},
            "effects": "share of the influence on the outputs",
        },
    )
    return _with_effects(circuit, [node.token_prob or 0.0 for node in graph.nodes])


def _with_effects(circuit: Circuit, probabilities: list[float]) -> Circuit:
    """The same with the influence of each node as its effect; that of outputs is their probability."""
    nodes = [node.model_copy(update={"effect": p}) for node, p in zip(circuit.nodes, probabilities, strict=True)]
    circuit = circuit.model_copy(update={"nodes": nodes})
    try:
        through = influence(links(circuit), output_weights(circuit))
    except ValueError as error:
        raise UserError(f"the graph cannot be a circuit: {error}") from None
    effects = through + output_weights(circuit)
    nodes = [node.model_copy(update={"effect": float(e)}) for node, e in zip(nodes, effects, strict=True)]
    inner = sum(abs(node.effect) for node in nodes if node.kind in {"feature", "error"})
    errors = sum(abs(node.effect) for node in nodes if node.kind == "error")
    return circuit.model_copy(update={"nodes": nodes, "error_share": errors / inner if inner else 0.0})


def _edges(graph: AttributionGraph, owners: dict[str, list[Node]]) -> tuple[list[Edge], int]:
    """The links, and how many are left out because their ids name two nodes each. Errors have no inputs."""
    edges, left_out = [], 0
    for link in graph.links:
        for end in (link.source, link.target):
            if end not in owners:
                raise UserError(f"a link of the graph joins {end!r}, which is no node of it")
        targets = [node for node in owners[link.target] if node.kind not in {"error", "token"}] or owners[link.target]
        if len(owners[link.source]) > 1 or len(targets) > 1:
            left_out += 1
            continue
        edges.append(Edge(source=owners[link.source][0].id, target=targets[0].id, weight=link.weight))
    return edges, left_out


def _node(graph: AttributionGraph, node: GraphNode, last: int) -> Node:
    kind, layer = _kind(node), _layer(node)
    parts = node.node_id.split("_")
    number = int(parts[1]) if len(parts) > 2 and parts[1].isascii() and parts[1].isdigit() else node.feature
    number = None if kind == "error" else number
    if kind == "token":
        site, layer = TOKENS, -1
    elif kind == "logit":
        site, layer = LOGITS, max(last, layer - 1)
    else:
        site = f"blocks.{layer}.{_place(node.feature_type)}"
    tokens = graph.metadata.prompt_tokens
    text = None
    if kind == "token" and node.ctx_idx < len(tokens):
        text = tokens[node.ctx_idx]
    said = _OUTPUT.fullmatch(node.clerp or "") if kind == "logit" else None
    if kind == "logit":
        text = said[1] if said else node.clerp
    return Node(
        id=node_id(site, "error" if number is None else number, node.ctx_idx),
        kind=kind,
        site=site,
        layer=layer,
        position=node.ctx_idx,
        feature=number,
        text=text,
        effect=0.0,
        activation=node.activation or 0.0,
        label=(node.clerp or None) if kind in {"feature", "error"} else None,
    )


def _kind(node: GraphNode) -> NodeKind:
    if node.feature_type == TOKEN:
        return "token"
    if node.feature_type == LOGIT:
        return "logit"
    return "error" if "error" in node.feature_type else "feature"


def _place(feature_type: str) -> str:
    """Where the features of a type write: transcoders as the MLP does, anything else under its own name."""
    name = feature_type.removesuffix("reconstruction error").removesuffix("error").strip()
    if feature_type == ERROR or "transcoder" in name:
        return "hook_mlp_out"
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "feature"


def _layer(node: GraphNode) -> int:
    text = str(node.layer)
    if text == "E":
        return -1
    if not re.fullmatch(r"-?\d{1,6}", text):
        raise UserError(f"node {node.node_id!r} is of layer {text[:40]!r}, which is no number")
    return int(text)


def _sites(nodes: list[Node]) -> list[str]:
    order = {"token": 0, "error": 1, "feature": 1, "logit": 2}
    found = {(order[node.kind], node.layer, node.site) for node in nodes}
    return list(dict.fromkeys(site for _, _, site in sorted(found)))


def _answer(nodes: list[Node]) -> str:
    return next((node.text for node in nodes if node.kind == "logit" and node.text), "")


def _known(owners: dict[str, list[Node]], ids: list[str]) -> list[str]:
    return [owners[one][0].id for one in ids if len(owners.get(one, [])) == 1]
