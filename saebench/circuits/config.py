"""What a discovery can be told."""

from typing import Literal

from pydantic import Field

from saebench.circuits.graph import Aggregation, Method
from saebench.config import Section
from saebench.errors import UserError


class CircuitConfig(Section):
    """How a circuit is found and judged. Defaults are those of Marks et al. 2024."""

    method: Method = Field(
        "ig", description="node effects by ig (gradients on the way), attrib (one gradient), exact (runs)"
    )
    aggregation: Aggregation = Field("sum", description="over positions; none keeps them, for templated tasks")
    reference: Literal["pairs", "zero", "mean"] = Field(
        "pairs", description="what a patched node gets: its value on the patched prompt, nothing, or its mean"
    )
    node_threshold: float = Field(0.1, ge=0, description="least absolute effect of a node that is kept")
    edge_threshold: float = Field(0.01, ge=0, description="least absolute weight of an edge that is kept")
    max_nodes: int = Field(2000, ge=1, description="strongest nodes that are kept at most")
    examples: int = Field(100, ge=1, description="examples that the circuit is found on")
    heldout: int = Field(40, ge=0, description="further examples that it is judged on")
    batch: int = Field(25, ge=1, description="examples per pass: what bounds memory, and what a kill can lose")
    judged_from: int | None = Field(
        None, ge=0, description="first block whose nodes are ablated in the proof; none: a third into the model"
    )
    curve_points: int = Field(15, ge=0, description="thresholds at which circuits are judged; 0 leaves the proof out")
    sampled_nodes: int = Field(20, ge=0, description="nodes of each site whose effect is also measured by running")
    sampled_examples: int = Field(20, ge=1, description="examples on which that is done")
    seed: int = Field(0, ge=0, description="of random circuits and of samples")

    def check_fits(self, task: str, *, templated: bool, patched: bool) -> None:
        """Raise UserError for settings that a task, which is templated or not, and has patched prompts or not, cannot
        be looked at with.
        """
        if self.reference == "pairs" and not patched:
            raise UserError(f"task {task!r} has no patched prompts; choose the reference zero or mean")
        if self.aggregation == "none" and not templated:
            raise UserError(f"positions can be kept apart in templated tasks only; {task!r} is none: use sum")
