"""The format of tasks: a JSON line about the task, then one for each example.

{"task": "close-bracket", "description": "…", "templated": false}
{"clean": "x = [1, 2", "patch": "x = (1, 2", "answer": "]", "wrong": ")"}

`answer` is what the model should say next after `clean`, `wrong` what it should say after `patch`. Both are one token
each. Without `patch` an example is unpaired; without `wrong` the metric is the answer's logit alone.
"""

import hashlib
import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from saebench.errors import UserError
from saebench.files import atomic_write


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
        return hashlib.sha256(_lines(self).encode()).hexdigest()


def read_task(path: Path) -> Task:
    """Read a task.

    Raises:
        UserError: no such file, or a line that is not what it should be; the message names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read task {path}: {error}") from None
    pairs, head = [], {}
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            if number == 1:
                head = {"name": row.pop("task"), **row}
                Task(pairs=(Pair(clean="x", answer="y"),), **head)
            else:
                pairs.append(Pair.model_validate(row))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise UserError(f"{path}, line {number}: {where}: {first['msg']}") from None
        except (ValueError, KeyError, AttributeError, TypeError):
            what = '{"task": …}' if number == 1 else '{"clean": …, "answer": …}'
            raise UserError(f"{path}, line {number}: not a JSON object like {what}") from None
    if not pairs:
        raise UserError(f"{path}: a task needs a line about itself and at least one example")
    return Task(pairs=tuple(pairs), **head)


def write_task(path: Path, task: Task) -> None:
    """Write a task, whole or not at all. Raises UserError where the file cannot be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(_lines(task).encode())


def _lines(task: Task) -> str:
    head = {"task": task.name, "description": task.description, "templated": task.templated}
    rows = [head, *(pair.model_dump(exclude_none=True) for pair in task.pairs)]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
