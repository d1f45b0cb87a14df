"""What SHIFT finds, as data; on the disk `shifts/<id>.json` in a workspace. Needs no torch to be read."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from saebench.shelf import Shelf

Method = Literal["attrib", "ig"]
"""How effects are estimated: by one gradient, or by ten on the way."""


class Score(BaseModel):
    """How a probe does on balanced data; all are shares of 1.

    Attributes:
        label: it says the label.
        confound: it says the confound; one that does not look at it: .5.
        groups: it says the label, for each combination of label and confound.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: float
    confound: float
    groups: dict[str, float]

    @property
    def worst(self) -> float:
        """Accuracy in the worst combination."""
        return min(self.groups.values())

    @staticmethod
    def mean(scores: "list[Score]") -> "Score":
        """Means of each figure."""
        n = len(scores)
        groups = {name: sum(s.groups[name] for s in scores) / n for name in scores[0].groups}
        return Score(
            label=sum(s.label for s in scores) / n, confound=sum(s.confound for s in scores) / n, groups=groups
        )


class Row(BaseModel):
    """One way to treat the classifier: which features were ablated, how it did as it was and trained anew."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    n_features: int
    score: Score
    retrained: Score | None = None


class Feature(BaseModel):
    """A feature and its mean effect on the probe's logit over the ambiguous examples, nats."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hook_point: str
    sae: str
    feature: int
    effect: float


class ShiftResult(BaseModel):
    """All that one run has found."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    probe_at: str
    method: str
    chosen_by: str
    ranked: list[Feature]
    """Strongest first."""
    chosen: list[Feature]
    rows: list[Row]
    examples: dict[str, int]
    """Number of examples that were trained on (ambiguous, oracle) and judged by (test)."""
    provenance: dict[str, Any]

    def row(self, name: str) -> Row:
        """The row of this name."""
        return next(row for row in self.rows if row.name == name)


_SHELF = Shelf("shifts", ShiftResult, "shift", "no result of shift: {}; delete it and run again", indent=1)


def shift_path(workspace: Path, shift_id: str) -> Path:
    """The file of a result. Raises StoreError for an id that can name none."""
    return _SHELF.path(workspace, shift_id)


def write_shift(workspace: Path, result: ShiftResult) -> Path:
    """Keep a result under its id, instead of one that is there. Raises UserError where it cannot be written."""
    return _SHELF.write(workspace, result.id, result)


def read_shift(workspace: Path, shift_id: str) -> ShiftResult:
    """A result of a workspace.

    Raises:
        UserError: there is none of this name, or its file is damaged.
        StoreError: an id that can name none.
    """
    return _SHELF.read(workspace, shift_id)
