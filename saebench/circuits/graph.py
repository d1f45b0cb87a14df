"""A circuit as data: nodes, edges, what it was made from and how well it stands for the model.

Decisions: an id says what a node is and cannot collide: `<hook point>/<what>`, with `@<position>` behind it where
positions are kept apart. What is `feature 123` at one site is a node of its own at another; error nodes are named
`error`, never by a number. Effects and weights are in the metric's units (usually nats of a logit difference), means
over the examples, positive where a node's clean value, against its patched one, raises the metric.
"""

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

NodeKind = Literal["feature", "error", "token", "logit"]
Method = Literal["attrib", "ig", "exact"]
Aggregation = Literal["sum", "none"]
Family = Literal["features", "neurons", "heads", "random"]
LOGITS = "logits"
"""The site of logit nodes."""
_ID = re.compile(r"(?P<site>[^/@]+)/(?P<what>[^/@]+)(@(?P<position>\d+))?")


def node_id(site: str, what: str | int, position: int | None = None) -> str:
    """`blocks.1.hook_mlp_out/123@7`: site, feature (or `error`, or a token's or logit's id), position."""
    return f"{site}/{what}" + ("" if position is None else f"@{position}")


def split_node_id(identifier: str) -> tuple[str, str, int | None]:
    """(site, what, position) of a node's id. Raises ValueError for what is none."""
    match = _ID.fullmatch(identifier)
    if match is None:
        raise ValueError(f"{identifier!r} is no node id; one reads <hook point>/<feature>, maybe with @<position>")
    return match["site"], match["what"], None if match["position"] is None else int(match["position"])


class Plain(BaseModel):
    """Data that never changes once made; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Node(Plain):
    """A feature, an error term, an input token or an output logit."""

    id: str = Field(description="see `node_id`")
    kind: NodeKind
    site: str = Field(description="hook point; `logits` for logit nodes")
    layer: int = Field(description="block it is in; -1 for input tokens, the number of blocks for logits")
    position: int | None = Field(None, description="token position; none where positions were summed over")
    feature: int | None = Field(None, description="number of the feature; of the token for tokens and logits")
    text: str | None = Field(None, description="the token, for tokens and logits")
    effect: float = Field(description="on the metric, mean over examples, summed over positions")
    activation: float = Field(0.0, description="mean over examples of the largest clean activation; of an error, norm")
    promoted: tuple[str, ...] = Field((), description="of a feature: tokens whose logits its direction raises most")
    label: str | None = Field(None, description="what this graph calls it: brought along by an imported one")


class Edge(Plain):
    """How much of a node's effect goes directly through another."""

    source: str = Field(description="id of the node upstream")
    target: str = Field(description="id of the node downstream")
    weight: float


class CurvePoint(Plain):
    """A circuit cut at one threshold, judged on held-out examples."""

    threshold: float = Field(description="least absolute effect of a node in it")
    n_nodes: int
    faithfulness: float = Field(description="(F(C) - F(none)) / (F(all) - F(none)); all other nodes at their means")
    completeness: float = Field(description="the same of everything but the circuit: near 0 where nothing is missing")


class Curve(Plain):
    """Faithfulness over thresholds of one family of nodes."""

    family: Family
    points: list[CurvePoint]
    metric_all: float = Field(description="F(all): mean of the metric of the model as it is")
    metric_none: float = Field(description="F(none): with every node at its mean")


class Agreement(Plain):
    """How an estimate of node effects agrees with running the model without the node."""

    method: Literal["attrib", "ig"]
    site: str = Field(description="hook point, or `all`")
    n: int = Field(description="nodes compared")
    pearson: float
    spearman: float


class Prompt(Plain):
    """One example of the task, token by token, as far as a reader of the graph needs it."""

    clean: list[str]
    patch: list[str] | None = None
    answer: str
    wrong: str | None = None


class Supernode(Plain):
    """Nodes that a person has put together under a name."""

    name: str
    nodes: list[str]


class Circuit(Plain):
    """A circuit with its proof and its provenance. Raises ValidationError for edges between nodes that it lacks."""

    id: str
    task: str
    title: str = ""
    method: Method
    aggregation: Aggregation
    node_threshold: float = Field(description="least absolute effect of a node that is kept")
    edge_threshold: float = Field(description="least absolute weight of an edge that is kept")
    n_examples: int
    n_heldout: int = Field(0, description="examples that the curves were measured on; 0: those it was found on")
    metric: float = Field(description="mean of the metric on the clean prompts")
    metric_patch: float | None = Field(None, description="on the patched ones; none where there are none")
    sites: list[str] = Field(description="hook points in the order in which the model computes them")
    saes: dict[str, str] = Field(description="hook point -> SAE")
    nodes: list[Node]
    edges: list[Edge]
    error_share: float = Field(description="share of error nodes in the sum of all nodes' absolute effects")
    curves: list[Curve] = Field([], description="one for each family")
    agreement: list[Agreement] = []
    examples: list[Prompt] = []
    supernodes: list[Supernode] = []
    pinned: list[str] = Field([], description="ids of the nodes of a sub-graph that somebody has chosen")
    provenance: dict[str, Any] = Field({}, description="model, SAE set, task, settings, code and hashes")

    @model_validator(mode="after")
    def _edges_join_nodes(self) -> "Circuit":
        known = {node.id for node in self.nodes}
        if len(known) < len(self.nodes):
            raise ValueError("two nodes have one id")
        strange = {end for edge in self.edges for end in (edge.source, edge.target)} - known
        if strange:
            raise ValueError(f"an edge joins {min(strange)!r}, which is no node of the circuit")
        return self

    @property
    def judged(self) -> CurvePoint | None:
        """The features' curve at the threshold nearest to the circuit's own; None where nothing was measured."""
        points = [point for curve in self.curves if curve.family == "features" for point in curve.points]
        return min(points, key=lambda point: abs(point.threshold - self.node_threshold), default=None)

    @property
    def faithfulness(self) -> float | None:
        """Of `judged`; None where nothing was measured."""
        return None if self.judged is None else self.judged.faithfulness
