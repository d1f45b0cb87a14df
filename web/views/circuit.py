"""A circuit: what its page says of it, what it draws, and the circuit itself, pruned."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from saebench.circuits import Circuit, CurvePoint, Node
from saebench.circuits.graph import Agreement
from saebench.circuits.prune import by_influence, by_thresholds, links
from web.errors import ProblemError
from web.figures.circuits import curves
from web.figures.frame import Figure
from web.formats import fixed, large, number, percent, signed
from web.views.circuit_meaning import names, promoting
from web.workspace import Workspace

SENT_EDGES = 20_000
"""At most so many edges are sent to a page, of which it draws 600: enough for any filter to find its strongest."""
DIGITS = 4


@dataclass(frozen=True)
class CircuitView:
    """What stands around the graph."""

    circuit: Circuit
    figures: list[tuple[str, str, Figure]]

    @property
    def title(self) -> str:
        """What the circuit explains."""
        return self.circuit.title or self.circuit.task

    @property
    def facts(self) -> list[tuple[str, str]]:
        """The strip of numbers."""
        c = self.circuit
        patched = [] if c.metric_patch is None else [("metric, patched", signed(c.metric_patch))]
        judged = [] if c.judged is None else [(proven(c.judged), fixed(c.judged.faithfulness))]
        return [
            ("nodes", large(len(c.nodes))),
            ("edges", large(len(c.edges))),
            *judged,
            ("error share", percent(c.error_share)),
            ("metric, clean", signed(c.metric)),
            *patched,
            ("examples", large(c.n_examples)),
        ]

    @property
    def settings(self) -> list[tuple[str, str]]:
        """How it was found."""
        c = self.circuit
        return [
            ("task", c.task),
            ("method", c.method),
            ("positions", "summed over" if c.aggregation == "sum" else "kept apart"),
            ("least effect of a node", number(c.node_threshold)),
            ("least weight of an edge", number(c.edge_threshold)),
            *((site, sae) for site, sae in c.saes.items()),
            *((name, str(value)) for name, value in c.provenance.items()),
        ]

    @property
    def estimates(self) -> list[str]:
        """The methods whose estimates were compared with removing nodes one by one."""
        return list(dict.fromkeys(row.method for row in self.circuit.agreement))

    @property
    def agreement(self) -> dict[str, dict[str, Agreement]]:
        """How they agree, by site (`all` is all of them together) and method."""
        found: defaultdict[str, dict[str, Agreement]] = defaultdict(dict)
        for row in self.circuit.agreement:
            found[site_name(row.site)][row.method] = row
        return found

    @property
    def layers(self) -> list[int]:
        """Blocks that nodes are in."""
        return sorted({node.layer for node in self.circuit.nodes if node.kind in {"feature", "error"}})

    @property
    def sites(self) -> list[str]:
        """Kinds of sites, without their blocks."""
        return list(dict.fromkeys(map(site_kind, self.circuit.sites)))


def proven(point: CurvePoint) -> str:
    """What a faithfulness was measured of."""
    nodes = f"{large(point.n_nodes)} node{'s' * (point.n_nodes != 1)}"
    return f"faithfulness with {nodes} at threshold {point.threshold:.3g}"


def curve_figures(circuit: Circuit) -> list[tuple[str, str, Figure]]:
    """(id, caption, figure) of the curves, if there are any."""
    if not circuit.curves:
        return []
    return [
        ("faithfulness", "Faithfulness", curves(circuit.curves, "faithfulness")),
        ("completeness", "Completeness", curves(circuit.curves, "completeness")),
    ]


def pruned(circuit: Circuit, influence: float | None, node: float | None = None, edge: float | None = None) -> Circuit:
    """The part of a circuit that carries a share of the influence, cut at thresholds. Raises ProblemError 422."""
    if influence is not None:
        try:
            circuit = by_influence(circuit, influence)
        except ValueError as error:
            raise ProblemError(422, "That cannot be pruned", f"{str(error).capitalize()}.") from None
    return by_thresholds(circuit, node or 0.0, edge or 0.0) if node or edge else circuit


def graph_data(here: Workspace, circuit_id: str, influence: float | None) -> dict[str, Any]:
    """Nodes and edges as columns, strongest first, as `web.models.circuits.GraphData` describes them.

    Raises:
        ProblemError: no such circuit (404), or one that cannot be pruned (422).
    """

    def make(circuit: Circuit) -> tuple[Circuit, dict[str, Any]]:
        part = pruned(circuit, influence)
        falling = np.argsort(-np.abs([node.effect for node in part.nodes]), kind="stable")
        ordered = part.model_copy(update={"nodes": [part.nodes[i] for i in falling]})
        return ordered, columns(ordered)

    circuit, drawn = here.circuits.kept(circuit_id, ("graph", influence), make)
    said = names(here, circuit, circuit.nodes)
    meant = {
        "said": [said.get(node, "") for node in drawn["nodes"]["id"]],
        "promoted": [list(node.promoted) for node in promoting(here, circuit, circuit.nodes)],
    }
    return {**drawn, "nodes": {**drawn["nodes"], **meant}}


def columns(circuit: Circuit) -> dict[str, Any]:
    """The same, but for what the nodes stand for; numbers as arrays, which go into JSON as they are."""
    nodes, edges = circuit.nodes, links(circuit)
    shown = np.argsort(-np.abs(edges.weights), kind="stable")[:SENT_EDGES]
    sites = list(dict.fromkeys([*circuit.sites, *(node.site for node in nodes)]))
    row = {site: i for i, site in enumerate(sites)}
    return {
        "sites": sites,
        "nodes": {
            "id": [node.id for node in nodes],
            "kind": [node.kind for node in nodes],
            "site": [row[node.site] for node in nodes],
            "layer": [node.layer for node in nodes],
            "position": [node.position for node in nodes],
            "effect": short([node.effect for node in nodes]),
            "activation": short([node.activation for node in nodes]),
            "name": [node_name(node) for node in nodes],
        },
        "edges": {
            "source": edges.sources[shown],
            "target": edges.targets[shown],
            "weight": short(edges.weights[shown]),
        },
        "n_edges": len(circuit.edges),
        "supernodes": [group.model_dump() for group in circuit.supernodes],
        "tokens": circuit.examples[0].clean if circuit.examples and circuit.aggregation == "none" else [],
    }


def node_name(node: Node) -> str:
    """A node's name within its site."""
    if node.kind == "error":
        return "error"
    if node.kind in {"token", "logit"} and node.text is not None:
        return node.text
    return str(node.feature if node.feature is not None else node.id)


def site_kind(site: str) -> str:
    """A hook point without its block: `mlp_out` of `blocks.1.hook_mlp_out`."""
    parts = site.split(".")
    kind = ".".join(parts[2:]) if parts[0] == "blocks" and len(parts) > 2 else site
    return kind.replace("hook_", "")


def site_name(site: str) -> str:
    """A hook point in short: `1 mlp_out` of `blocks.1.hook_mlp_out`."""
    parts = site.split(".")
    block = f"{parts[1]} " if parts[0] == "blocks" and len(parts) > 2 else ""
    return block + site_kind(site)


def short(values: Sequence[float] | Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Numbers to `DIGITS` significant digits, as JSON writes them: not .12340000000000001."""
    exact = np.asarray(values, np.float64)
    size = np.floor(np.log10(np.abs(exact), out=np.zeros_like(exact), where=exact != 0)).clip(-300, 300)
    places = DIGITS - 1 - size
    power = 10.0 ** np.abs(places)  # whole numbers are divided or multiplied by it, so that what comes is the nearest
    with np.errstate(over="ignore"):  # in the product of a number that is divided
        digits = np.rint(np.where(places < 0, exact / power, exact * power))
    return np.where(places < 0, digits * power, digits / power)
