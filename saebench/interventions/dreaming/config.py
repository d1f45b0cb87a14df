"""What a dream can be told."""

from pydantic import Field, model_validator

from saebench.config import Section


class DreamConfig(Section):
    """How prompts are searched (EPO). Defaults are the published ones (Thompson et al. 2024)."""

    tokens: int = Field(12, ge=2, description="tokens of a prompt, the begin token not counted")
    iterations: int = Field(300, ge=1, description="rounds of children and selection")
    population: int = Field(8, ge=1, description="prompts kept, each for a penalty of its own")
    children: int = Field(32, ge=1, description="children of each, which differ from it in one token")
    candidates: int = Field(512, ge=1, description="tokens of the steepest descent that a child's is drawn from")
    least_penalty: float = Field(0.1, gt=0, description="smallest weight of the cross-entropy against the activation")
    largest_penalty: float = Field(10.0, gt=0, description="largest; the others lie between, evenly in logarithm")
    restart_every: int = Field(50, ge=0, description="iterations after which all begin again from one; 0: never")
    restart_penalties: tuple[float, float] = Field(
        (2 / 3, 6.0), description="between these lies the penalty by which that one is the best"
    )
    examples: int = Field(8, ge=0, le=20, description="strongest examples of the corpus that it is compared with")

    @model_validator(mode="after")
    def _in_order(self) -> "DreamConfig":
        if self.least_penalty > self.largest_penalty:
            raise ValueError("least_penalty must not be above largest_penalty")
        if not 0 < self.restart_penalties[0] <= self.restart_penalties[1]:
            raise ValueError("restart_penalties must be two positive numbers, the smaller first")
        return self
