"""Tasks on the disk: `tasks/<name>.jsonl` in a workspace, made by `saebench circuit tasks` or by hand."""

from pathlib import Path

from saebench.circuits.tasks.pairs import Task, read_task
from saebench.errors import UserError


def tasks_folder(workspace: Path) -> Path:
    """Where the tasks of a workspace lie."""
    return workspace / "tasks"


def task_names(workspace: Path) -> list[str]:
    """The tasks of a workspace, sorted."""
    return sorted(path.stem for path in tasks_folder(workspace).glob("*.jsonl"))


def task_path(workspace: Path, name: str) -> Path:
    """The file of a task."""
    return tasks_folder(workspace) / f"{name}.jsonl"


def find_task(workspace: Path, name: str) -> Task:
    """A task of a workspace.

    Raises:
        UserError: there is none of this name, or its file is damaged.
    """
    known = task_names(workspace)
    if name not in known:
        raise UserError(
            f"workspace {workspace} has no task {name!r}; it has: {', '.join(known) or 'none'}; make one with: "
            f"saebench circuit tasks NAME --workspace {workspace}"
        )
    return read_task(task_path(workspace, name))
