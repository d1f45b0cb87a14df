"""The format of confounded data: a JSON line about the data, then one for each example.

{"shift": "topic-self", "description": "…", "labels": ["python", "network"], "confounds": ["functions", "methods"]}
{"split": "train", "text": "Send a request …", "label": 1, "confound": 1}

`labels` and `confounds` name the values 0 and 1. The probe is trained on those examples of `train` in which label and
confound agree; the oracle on as many of all four combinations as there are of the rarest; both are judged on `test`,
cut to equal numbers in the same way.
"""

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from saebench.errors import UserError
from saebench.jsonl import headed_text, read_headed, write_text

Split = Literal["train", "test"]
Names = tuple[str, str]
GROUPS = ((0, 0), (0, 1), (1, 0), (1, 1))
"""(label, confound) of the four combinations."""


class Example(BaseModel):
    """One text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    split: Split
    text: str = Field(min_length=1)
    label: Literal[0, 1]
    confound: Literal[0, 1]


class ShiftData(BaseModel):
    """Texts with a label to learn and a confound that goes with it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    description: str = ""
    labels: Names = ("0", "1")
    confounds: Names = ("0", "1")
    examples: tuple[Example, ...]

    @property
    def sha256(self) -> str:
        """Identity of the data: a hash of what its file holds."""
        return hashlib.sha256(_text(self).encode()).hexdigest()

    def ambiguous(self) -> list[Example]:
        """Training examples in which label and confound agree."""
        return [e for e in self.examples if e.split == "train" and e.label == e.confound]

    def balanced(self, split: Split, seed: int = 0) -> list[Example]:
        """As many examples of each combination as there are of the rarest, drawn by `seed`."""
        groups = [[e for e in self.examples if e.split == split and (e.label, e.confound) == g] for g in GROUPS]
        size = min(map(len, groups))
        draw = np.random.default_rng(seed)
        return [group[i] for group in groups for i in sorted(draw.permutation(len(group))[:size])]

    def group_name(self, label: int, confound: int) -> str:
        """What a combination is called."""
        return f"{self.labels[label]}/{self.confounds[confound]}"


def read_data(path: Path) -> ShiftData:
    """Read confounded data.

    Raises:
        UserError: no such file, a line that is not what it should be (the message names it), or a combination of label
            and confound without an example.
    """
    head, examples = read_headed(
        path,
        "data",
        ("shift", '{"shift": NAME, …}'),
        lambda about: ShiftData(examples=(), **about),
        Example.model_validate,
        '{"split": …, "text": …, "label": …, "confound": …}',
    )
    return checked(ShiftData(examples=tuple(examples), **head), str(path))


def checked(data: ShiftData, source: str) -> ShiftData:
    """The data, if every combination of label and confound is there to train on and to judge by.

    Raises:
        UserError: one has no example.
    """
    have = {(e.split, e.label, e.confound) for e in data.examples}
    for split in ("train", "test"):
        for label, confound in GROUPS:
            if (split, label, confound) not in have:
                raise UserError(
                    f"{source}: no {split} example has label {label} ({data.labels[label]}) and confound {confound} "
                    f"({data.confounds[confound]}); all four combinations are needed, to train on and to judge by"
                )
    return data


def write_data(path: Path, data: ShiftData) -> None:
    """Write data, whole or not at all. Raises UserError where the file cannot be written."""
    write_text(path, _text(data))


def _text(data: ShiftData) -> str:
    about = {"name": data.name, "description": data.description, "labels": data.labels, "confounds": data.confounds}
    return headed_text("shift", about, (example.model_dump() for example in data.examples))
