"""Circuits as pages have them, as data."""

from typing import Literal

from pydantic import BaseModel, Field

from saebench.circuits.graph import Aggregation, Edge, Method, Node, NodeKind, Supernode

Show = Literal["shared", "a", "b"]


class CircuitSummary(BaseModel):
    """A circuit in one row."""

    id: str
    title: str = ""
    task: str = ""
    method: Method | None = None
    aggregation: Aggregation | None = None
    n_examples: int = 0
    n_nodes: int = 0
    n_edges: int = 0
    node_threshold: float = 0.0
    edge_threshold: float = 0.0
    error_share: float | None = None
    faithfulness: float | None = Field(None, description="of its features at its own threshold, on held-out examples")
    judged_nodes: int | None = Field(None, description="how many were kept for that: of the blocks that are ablated")
    judged_threshold: float | None = Field(None, description="least effect of these: its own, or the nearest measured")
    problem: str | None = Field(None, description="what is wrong with its file; nothing else is known then")


class SetSummary(BaseModel):
    """A set of SAEs, one for each of several sites of a model."""

    id: str
    n_sites: int


class CircuitsPage(BaseModel):
    """The circuits of a workspace, and what another can be found from."""

    workspace: str
    circuits: list[CircuitSummary]
    tasks: list[str] = Field(description="of the workspace, then those that saebench knows how to make")
    sets: list[SetSummary]


class NewCircuit(BaseModel):
    """What is to be found: a circuit of a task, or of one pair of prompts, which becomes a task."""

    origin: Literal["task", "pair"] = "task"
    task: str = Field("", max_length=120, description="a known task; of a pair, the name that it gets")
    name: str = Field("", max_length=120, description="of a pair: the name of the task that it becomes")
    clean: str = Field("", max_length=4000)
    patch: str = Field("", max_length=4000)
    answer: str = Field("", max_length=200)
    wrong: str = Field("", max_length=200)
    saes: str = Field(max_length=200, description="a set of SAEs")
    id: str = Field("", max_length=120, description="that the circuit gets; by default made of task and method")
    method: Method = "ig"
    aggregation: Aggregation = "sum"
    node_threshold: float = Field(0.1, ge=0, le=1e6, allow_inf_nan=False)
    edge_threshold: float = Field(0.01, ge=0, le=1e6, allow_inf_nan=False)
    examples: int = Field(100, ge=1, le=100_000)


class NodeColumns(BaseModel):
    """Nodes, strongest first, a list for each column."""

    id: list[str]
    kind: list[NodeKind]
    site: list[int] = Field(description="place in the list of sites")
    layer: list[int]
    position: list[int | None]
    effect: list[float]
    activation: list[float]
    name: list[str] = Field(description="number of a feature, text of a token or logit")
    said: list[str] = Field(description="what people or explanations call it; empty where nobody did")
    promoted: list[list[str]] = Field(description="of features: the tokens whose logits they raise most")


class EdgeColumns(BaseModel):
    """Edges, strongest first: places in the lists of nodes, and weights."""

    source: list[int]
    target: list[int]
    weight: list[float]


class GraphData(BaseModel):
    """What is drawn."""

    sites: list[str]
    nodes: NodeColumns
    edges: EdgeColumns
    n_edges: int = Field(description="how many there are; only the strongest are sent")
    supernodes: list[Supernode]
    tokens: list[str] = Field(description="of the first example, where positions are kept apart")


class NeighbourNode(BaseModel):
    """A node at the other end of an edge."""

    node: Node
    said: str | None
    weight: float
    share: float = Field(description="|weight| as a share of all that go to the edge's target")


class NodePage(BaseModel):
    """A node of a circuit, and its strongest inputs and outputs."""

    circuit: str
    node: Node
    said: str | None
    sae: str | None = Field(description="that the feature is of")
    corpus: str | None = Field(description="on which the SAE is indexed; none: there is no card to show")
    supernode: str | None
    inputs: list[NeighbourNode]
    outputs: list[NeighbourNode]
    n_inputs: int
    n_outputs: int


class EdgePage(BaseModel):
    """An edge of a circuit."""

    circuit: str
    edge: Edge
    source: Node
    target: Node
    source_said: str | None
    target_said: str | None
    share: float = Field(description="|weight| as a share of all that go to its target")


class EdgeWanted(BaseModel):
    """An edge to be tested by intervening on it."""

    source: str = Field(max_length=200)
    target: str = Field(max_length=200)
    examples: int = Field(16, ge=1, le=200)


class EdgeTested(BaseModel):
    """What removing an edge's source does to its target: as the edge predicts it, and as it is."""

    source: str
    target: str
    predicted: float
    measured: float
    n: int = Field(description="examples")


class Title(BaseModel):
    """What a circuit is called; empty: as its task."""

    title: str = Field(max_length=200)


class Members(BaseModel):
    """The nodes of a supernode; each leaves the one that it was in."""

    nodes: list[str] = Field(min_length=1, max_length=2000)


class ComparedNode(BaseModel):
    """A node of one or both circuits."""

    node: Node
    said: str | None
    effect_a: float | None
    effect_b: float | None


class ComparedEdge(BaseModel):
    """An edge of one or both circuits."""

    source: str
    target: str
    weight_a: float | None
    weight_b: float | None


class CircuitComparePage(BaseModel):
    """Two circuits side by side."""

    circuits: list[str] = Field(description="what can be compared")
    a: str | None
    b: str | None
    show: Show
    page: int
    size: int
    summed: bool = Field(False, description="positions were summed over, since only one circuit keeps them apart")
    n_nodes: dict[Show, int] = Field({}, description="in both, only in a, only in b; empty: nothing to compare")
    n_edges: dict[Show, int] = {}
    nodes: list[ComparedNode] = []
    edges: list[ComparedEdge] = []
    ends: dict[str, Node] = Field({}, description="the nodes that these edges join, by id")
