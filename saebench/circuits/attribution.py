"""The common attribution-graph JSON (circuit-tracer, Neuronpedia) as types: `metadata`, `qParams`, `nodes`, `links`.

Reading is lenient (unknown keys are left alone, as every writer adds its own), so that files of all versions can be
read; what saebench itself adds stands under `saebench`, where no other reader looks.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

FEATURE, ERROR, TOKEN, LOGIT = "cross layer transcoder", "mlp reconstruction error", "embedding", "logit"
"""circuit-tracer's names of what a node is."""
SCHEMA_VERSION = 1


class Lenient(BaseModel):
    """Keeps what it knows and passes over the rest."""

    model_config = ConfigDict(extra="ignore")


class GraphNode(Lenient):
    """A node as the files have it."""

    node_id: str = Field(min_length=1)
    feature: int | None = None
    layer: str | int
    ctx_idx: int = Field(ge=0)
    feature_type: str
    jsNodeId: str = ""
    clerp: str | None = ""
    token_prob: float | None = None
    is_target_logit: bool | None = None
    run_idx: int | None = None
    reverse_ctx_idx: int | None = None
    influence: float | None = None
    activation: float | None = None
    saebench: dict[str, Any] | None = None


class GraphLink(Lenient):
    """An edge."""

    source: str
    target: str
    weight: float


class GraphParams(Lenient):
    """What somebody has chosen in the graph."""

    pinnedIds: list[str] | str | None = None
    supernodes: list[Annotated[list[str], Field(min_length=1)]] | None = None
    linkType: str | None = "both"
    clickedId: str | None = None
    sg_pos: str | None = None

    @property
    def pinned(self) -> list[str]:
        """The pinned nodes; some writers keep them as one string."""
        pinned = self.pinnedIds or []
        return pinned.split(",") if isinstance(pinned, str) else pinned


class GraphMetadata(Lenient):
    """What the graph is of."""

    slug: str = ""
    scan: str = ""
    prompt_tokens: list[str] = []
    prompt: str = ""
    node_threshold: float | None = None
    schema_version: int | None = None
    info: dict[str, Any] | None = None
    generation_settings: dict[str, Any] | None = None
    pruning_settings: dict[str, Any] | None = None
    saebench: dict[str, Any] | None = None


class AttributionGraph(Lenient):
    """A whole file."""

    metadata: GraphMetadata
    qParams: GraphParams = GraphParams()
    nodes: list[GraphNode] = Field(min_length=1)
    links: list[GraphLink]
