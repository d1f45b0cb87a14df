"""A task by what a command line says: a JSONL file, one of the workspace, or one that can be made. Needs no torch."""

import difflib
from pathlib import Path

from saebench.circuits.tasks.files import find_task, task_names
from saebench.circuits.tasks.pairs import Task, read_task
from saebench.circuits.tasks.registry import TASKS
from saebench.errors import UserError


def named_task(workspace: Path, name: str) -> Task | None:
    """A task that is there; None for one that has to be made for a model.

    Args:
        workspace: where tasks are kept.
        name: of a JSONL file, of a task of the workspace, or of one that can be made.

    Raises:
        UserError: none of the three, or a damaged file.
    """
    if name.endswith(".jsonl"):
        return read_task(Path(name))
    if name in task_names(workspace):
        return find_task(workspace, name)
    if name in TASKS:
        return None
    raise _unknown(workspace, name)


def _unknown(workspace: Path, name: str) -> UserError:
    own = task_names(workspace)
    near = difflib.get_close_matches(name, [*own, *TASKS], n=1)
    meant = f"; did you mean {near[0]!r}?" if near else ";"
    return UserError(
        f"there is no task {name!r}{meant} workspace {workspace} has: {', '.join(own) or 'none'}; "
        f"saebench makes: {', '.join(TASKS)}"
    )
