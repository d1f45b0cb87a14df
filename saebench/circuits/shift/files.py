"""Confounded data by name: a file, the workspace's `shifts/data/<name>.jsonl`, or made now and kept there."""

from collections.abc import Callable
from pathlib import Path

from saebench.circuits.shift.examples import ShiftData, read_data, write_data
from saebench.circuits.shift.topic_form import topic_form
from saebench.circuits.shift.topic_self import topic_self
from saebench.errors import UserError

GENERATORS: dict[str, Callable[[], ShiftData]] = {"topic-form": topic_form, "topic-self": topic_self}


def data_of(workspace: Path, name: str) -> ShiftData:
    """Data by the name of a JSONL file, of the workspace's, or of what can be made.

    Raises:
        UserError: no such file or name, or a file that is not what it should be.
    """
    if name.endswith(".jsonl"):
        return read_data(Path(name))
    path = workspace / "shifts" / "data" / f"{name}.jsonl"
    if path.exists():
        return read_data(path)
    if name not in GENERATORS:
        raise UserError(f"there is no data {name!r}; give a JSONL file, or one of: {', '.join(GENERATORS)}")
    data = GENERATORS[name]()
    write_data(path, data)
    return data
