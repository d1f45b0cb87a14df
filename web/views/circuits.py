"""The list of circuits, and what is checked before another is looked for."""

from importlib import import_module
from importlib.util import find_spec

from pydantic import ValidationError

from saebench.circuits.sets import KIND
from saebench.circuits.tasks import Pair, Task, read_task, write_task
from saebench.circuits.tasks.files import task_names, task_path
from web.errors import ProblemError
from web.files import checked_id
from web.models.circuits import CircuitsPage, NewCircuit, SetSummary
from web.workspace import Workspace

RESERVED = {"compare"}
"""Ids that would hide a page."""
TYPED = "typed in the dashboard"
_REGISTRY = "saebench.circuits.tasks.registry"


def circuits_page(here: Workspace) -> CircuitsPage:
    """Circuits, tasks and sets of the workspace."""
    own = task_names(here.path)
    return CircuitsPage(
        workspace=str(here.path),
        circuits=here.circuits.summaries(),
        tasks=[*own, *(name for name in built_in() if name not in own)],
        sets=[SetSummary(id=row["id"], n_sites=len(row.get("saes", {}))) for row in here.catalogued(KIND)],
    )


def built_in() -> list[str]:
    """The tasks that saebench knows how to make."""
    return list(import_module(_REGISTRY).TASKS) if find_spec(_REGISTRY) else []


def about(here: Workspace, wanted: NewCircuit) -> dict[str, str]:
    """What a job that finds a circuit works on, once all of it has been checked. A typed pair is written as a task.

    Raises:
        ProblemError: there is no such task or set (404), a pair or an id cannot be used (422), or is taken (409).
    """
    if not any(row["id"] == wanted.saes for row in here.catalogued(KIND)):
        remedy = "Train one: saebench circuit set configs/demo-circuits.yaml"
        raise ProblemError(404, "No such SAE set", f"This workspace has no SAE set {wanted.saes!r}.", remedy)
    task = typed_task(here, wanted) if wanted.origin == "pair" else wanted.task
    if task not in task_names(here.path) and task not in built_in():
        remedy = f"It has: {', '.join(circuits_page(here).tasks) or 'none; type a pair of prompts'}."
        raise ProblemError(404, "No such task", f"This workspace has no task {task!r}.", remedy)
    return {
        "task": task,
        "saes": wanted.saes,
        "id": _free_id(here, wanted.id.strip(), f"{task}.{wanted.method}"),
        "method": wanted.method,
        "aggregation": wanted.aggregation,
        "node": f"{wanted.node_threshold:g}",
        "edge": f"{wanted.edge_threshold:g}",
        "examples": str(wanted.examples),
    }


def typed_task(here: Workspace, wanted: NewCircuit) -> str:
    """Write a typed pair of prompts as a task of the workspace; its name. Raises ProblemError 422, 409."""
    try:
        pair = Pair(
            clean=_text(wanted.clean),
            patch=_text(wanted.patch) or None,
            answer=_text(wanted.answer),
            wrong=_text(wanted.wrong) or None,
        )
        task = Task(name=wanted.name.strip(), description=TYPED, pairs=(pair,))
    except ValidationError as error:
        first = error.errors()[0]
        what = str(first["loc"][-1]) if first["loc"] else "the pair"
        if what == "name":
            cause = f"name: {wanted.name!r} cannot name a task; use letters, digits, '-' and '_'."
        else:
            cause = f"{what}: {'is empty' if first['type'] == 'string_too_short' else first['msg'].lower()}."
        raise ProblemError(422, "That is no pair of prompts", cause) from None
    if any(
        "\ud800" <= one <= "\udfff"
        for text in (wanted.clean, wanted.patch, wanted.answer, wanted.wrong)
        for one in text
    ):
        raise ProblemError(422, "Not text", "A prompt holds half a surrogate pair, which is no character.")
    if task.name in built_in():
        raise ProblemError(
            409, "That name is taken", f"saebench has a task {task.name!r} of its own.", "Choose another."
        )
    path = task_path(here.path, task.name)
    if path.exists() and (known := read_task(path)).pairs != task.pairs and _stands(here, known):
        cause = f"This workspace has a task {task.name!r} of other prompts."
        raise ProblemError(409, "That name is taken", cause, "Choose another name.")
    write_task(path, task)
    return task.name


def _stands(here: Workspace, task: Task) -> bool:
    """Whether a task must stay as it is: a pair that was typed and came to nothing is corrected under its own name."""
    return task.description != TYPED or any(row.task == task.name for row in here.circuits.summaries())


def _free_id(here: Workspace, asked: str, default: str) -> str:
    taken = {row.id for row in here.circuits.summaries()} | RESERVED
    if not asked:
        return next(name for n in range(1, 10**6) if (name := default if n == 1 else f"{default}-{n}") not in taken)
    if checked_id(asked) in taken:
        raise ProblemError(409, "That id is taken", f"This workspace has a circuit {asked!r}.", "Choose another id.")
    return asked


def _text(typed: str) -> str:
    """As it is in files: a form may send line breaks as two characters."""
    return typed.replace("\r\n", "\n")
