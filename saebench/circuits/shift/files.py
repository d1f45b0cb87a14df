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
    return existing_data(workspace, name) or made_data(workspace, name)


def existing_data(workspace: Path, name: str) -> ShiftData | None:
    """Data that is there; None for what has to be made, which takes some seconds.

    Raises:
        UserError: as `data_of`.
    """
    if name.endswith(".jsonl"):
        return read_data(Path(name))
    path = _path(workspace, name)
    if path.exists():
        return read_data(path)
    if name not in GENERATORS:
        raise UserError(f"there is no data {name!r}; give a JSONL file, or one of: {', '.join(GENERATORS)}")
    return None


def made_data(workspace: Path, name: str) -> ShiftData:
    """Data of `GENERATORS`, made now and kept in the workspace."""
    data = GENERATORS[name]()
    write_data(_path(workspace, name), data)
    return data


def _path(workspace: Path, name: str) -> Path:
    return workspace / "shifts" / "data" / f"{name}.jsonl"
