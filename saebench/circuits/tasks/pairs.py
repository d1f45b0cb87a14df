"""The format of tasks: a JSON line about the task, then one for each example.

{"task": "close-bracket", "description": "…", "templated": false}
{"clean": "x = [1, 2", "patch": "x = (1, 2", "answer": "]", "wrong": ")"}

`answer` is what the model should say next after `clean`, `wrong` what it should say after `patch`. Both are one token
each. Without `patch` an example is unpaired; without `wrong` the metric is the answer's logit alone.
"""

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from saebench.jsonl import headed_text, read_headed, write_text


class Pair(BaseModel):
    """One example."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    clean: str = Field(min_length=1)
    patch: str | None = Field(None, min_length=1)
    answer: str = Field(min_length=1)
    wrong: str | None = Field(None, min_length=1)


class Task(BaseModel):
    """Examples of one behaviour. `templated` says that position i means the same in all of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    description: str = ""
    templated: bool = False
    pairs: tuple[Pair, ...] = Field(min_length=1)

    @property
    def sha256(self) -> str:
        """Identity of the task: a hash of what its file holds."""
        return hashlib.sha256(_text(self).encode()).hexdigest()


def read_task(path: Path) -> Task:
    """Read a task.

    Raises:
        UserError: no such file, or a line that is not what it should be; the message names the line.
    """
    head, pairs = read_headed(
        path,
        "task",
        ("task", '{"task": …}'),
        lambda about: Task(pairs=(Pair(clean="x", answer="y"),), **about),
        Pair.model_validate,
        '{"clean": …, "answer": …}',
    )
    return Task(pairs=tuple(pairs), **head)


def write_task(path: Path, task: Task) -> None:
    """Write a task, whole or not at all. Raises UserError where the file cannot be written."""
    write_text(path, _text(task))


def _text(task: Task) -> str:
    about = {"name": task.name, "description": task.description, "templated": task.templated}
    return headed_text("task", about, (pair.model_dump(exclude_none=True) for pair in task.pairs))
