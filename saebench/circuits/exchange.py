"""Circuits for and from other tools, as the common attribution-graph JSON.

Decisions:
- Ids are those that readers of the format expect, `{layer}_{feature}_{position}`, `E_{token}_{position}` and
  `{layers + 1}_{token}_{position}`, with the site behind them where a layer has several; `{layer}_error_{position}` for
  errors, since circuit-tracer's `0_{layer}_{position}` is also the id of a feature of layer 0.
- What the format has no place for stands under `saebench`, so that a circuit comes back as it went. What people change
  on the way (names, supernodes, pinned nodes) is taken from where the format keeps it.
- A foreign graph says nothing of effects on a metric: its nodes get their share of the influence on the outputs.
"""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from saebench.circuits.attribution import (
    ERROR,
    FEATURE,
    LOGIT,
    SCHEMA_VERSION,
    TOKEN,
    AttributionGraph,
    GraphLink,
    GraphMetadata,
    GraphNode,
    GraphParams,
)
from saebench.circuits.foreign import foreign_circuit
from saebench.circuits.graph import Circuit, Edge, Node, Supernode
from saebench.circuits.prune import cumulative, influence, links, output_weights
from saebench.errors import UserError

TYPES = {"feature": FEATURE, "error": ERROR, "token": TOKEN, "logit": LOGIT}


def export_circuit(circuit: Circuit, labels: Mapping[str, str] | None = None) -> AttributionGraph:
    """A circuit in the common format.

    Args:
        circuit: what to write.
        labels: node id -> what people call it, for nodes that the graph itself has no name for.
    """
    labels = labels or {}
    ids = common_ids(circuit)
    shares = _cumulative_influence(circuit)
    example = circuit.examples[0].clean if circuit.examples else []
    return AttributionGraph(
        metadata=GraphMetadata(
            slug=circuit.id,
            scan=_model(circuit),
            prompt_tokens=example if circuit.aggregation == "none" else ["(all positions)"],
            prompt="".join(example),
            node_threshold=circuit.node_threshold,
            schema_version=SCHEMA_VERSION,
            info={"creator_name": "saebench", "source_urls": [], "generator": {"name": "saebench"}},
            generation_settings={"method": circuit.method, "examples": circuit.n_examples, "task": circuit.task},
            pruning_settings={"node_threshold": circuit.node_threshold, "edge_threshold": circuit.edge_threshold},
            saebench=circuit.model_dump(exclude={"nodes", "edges", "supernodes", "pinned"}),
        ),
        qParams=GraphParams(
            pinnedIds=[ids[one] for one in circuit.pinned],
            supernodes=[[group.name, *(ids[one] for one in group.nodes)] for group in circuit.supernodes],
            clickedId="",
            sg_pos="",
        ),
        nodes=[
            _common_node(node, ids[node.id], share, labels.get(node.id))
            for node, share in zip(circuit.nodes, shares, strict=True)
        ],
        links=[GraphLink(source=ids[e.source], target=ids[e.target], weight=e.weight) for e in circuit.edges],
    )


def import_circuit(graph: AttributionGraph, circuit_id: str) -> Circuit:
    """A circuit of the common format, under an id of our own.

    Raises:
        UserError: what the file says of a circuit does not hold together.
    """
    if graph.metadata.saebench is None or any(node.saebench is None for node in graph.nodes):
        return foreign_circuit(graph, circuit_id)
    own = {node.node_id: str((node.saebench or {}).get("id")) for node in graph.nodes}
    try:
        return Circuit.model_validate(
            {
                **graph.metadata.saebench,
                "id": circuit_id,
                "nodes": [{**(node.saebench or {}), "label": _label(node)} for node in graph.nodes],
                "edges": [
                    Edge(source=own[one.source], target=own[one.target], weight=one.weight) for one in graph.links
                ],
                "supernodes": [
                    Supernode(name=name, nodes=[own[one] for one in members if one in own])
                    for name, *members in graph.qParams.supernodes or []
                ],
                "pinned": [own[one] for one in graph.qParams.pinned if one in own],
            }
        )
    except KeyError as error:
        raise UserError(f"a link of the graph joins {error}, which is no node of it") from None
    except ValidationError as error:
        raise UserError(f"the graph is no circuit: {_first(error)}") from None


def read_graph(path: Path) -> AttributionGraph:
    """An attribution graph from its file.

    Raises:
        UserError: it cannot be read, or is none; the message says where.
    """
    try:
        return AttributionGraph.model_validate(json.loads(path.read_bytes()))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except ValidationError as error:
        raise UserError(f"{path} is no attribution graph: {_first(error)}") from None
    except (ValueError, RecursionError):
        raise UserError(f"{path} is not JSON") from None


def graph_json(graph: AttributionGraph) -> bytes:
    """An attribution graph as its file has it."""
    return graph.model_dump_json(exclude_none=True).encode()


def common_ids(circuit: Circuit) -> dict[str, str]:
    """Of each node's id: its id in the common format. No two are alike."""
    sites = Counter(layer for layer, _ in {(node.layer, node.site) for node in circuit.nodes})
    ids: dict[str, str] = {}
    taken: set[str] = set()
    for node in circuit.nodes:
        name = "_".join([_layer(node), str(_number(node)), str(node.position or 0)])
        if sites[node.layer] > 1:
            name += f"_{node.site}"
        if name in taken:
            name += f"_{len(ids)}"
        taken.add(name)
        ids[node.id] = name
    return ids


def _common_node(node: Node, identifier: str, share: float, label: str | None) -> GraphNode:
    number = _number(node)
    return GraphNode(
        node_id=identifier,
        feature=_paired(node.layer, node.feature) if node.kind == "feature" else node.feature or -1,
        layer=_layer(node),
        ctx_idx=node.position or 0,
        feature_type=TYPES[node.kind],
        jsNodeId=f"{_layer(node)}_{number}-{node.position or 0}",
        clerp=node.label or label or _caption(node),
        is_target_logit=node.kind == "logit",
        influence=share,
        activation=node.activation,
        saebench=node.model_dump(exclude={"label"}),
    )


def _model(circuit: Circuit) -> str:
    model = circuit.provenance.get("model", "")
    return str(model.get("name", "")) if isinstance(model, dict) else str(model)


def _label(node: GraphNode) -> str | None:
    """The name of a node of ours, unless it is what we write where there is none."""
    own = Node.model_validate(node.saebench)
    return node.clerp if node.clerp and node.clerp != _caption(own) else None


def _caption(node: Node) -> str:
    """What the format's readers show of a node without a name."""
    match node.kind:
        case "token":
            return f'Emb: "{node.text or ""}"'
        case "logit":
            return f'Output "{node.text or ""}"'
        case "error":
            return f"Err: {node.site}"
    return ""


def _layer(node: Node) -> str:
    return "E" if node.kind == "token" else str(node.layer + (node.kind == "logit"))


def _number(node: Node) -> int | str:
    return "error" if node.kind == "error" else node.feature or 0


def _paired(layer: int, feature: int | None) -> int:
    """One number for two, by Cantor: the format's `feature`."""
    a, b = max(layer, 0), feature or 0
    return (a + b) * (a + b + 1) // 2 + b


def _cumulative_influence(circuit: Circuit) -> list[float]:
    try:
        return cumulative(influence(links(circuit), output_weights(circuit))).tolist()
    except ValueError:  # in circles: nobody can say
        return np.zeros(len(circuit.nodes)).tolist()


def _first(error: ValidationError) -> str:
    first: Any = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else str(first["msg"])
