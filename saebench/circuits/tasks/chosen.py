"""A task by what a command line says: a JSONL file, one of the workspace, or one that is made for a model."""

import difflib
import sys
from collections.abc import Callable
from pathlib import Path

from saebench.circuits.tasks.check import check_task
from saebench.circuits.tasks.files import find_task, task_names
from saebench.circuits.tasks.known import answers, keep_known
from saebench.circuits.tasks.pairs import Task, read_task
from saebench.circuits.tasks.registry import TASKS
from saebench.errors import UserError
from saebench.lm import LanguageModel
from saebench.lm.tokenizer import load_tokenizer


def existing_task(workspace: Path, name: str, model: str) -> Task | None:
    """A task that is there, as far as a model's tokenizer reads it; None for one that has to be made.

    Args:
        workspace: where tasks are kept.
        name: of a JSONL file, of a task of the workspace, or of one that can be made.
        model: whose tokenizer; its weights are not opened, so that what cannot be used is refused at once.

    Raises:
        UserError: none of the three, a damaged file, or prompts that `check_task` refuses.
    """
    if name.endswith(".jsonl"):
        task = read_task(Path(name))
    elif name in task_names(workspace):
        task = find_task(workspace, name)
    elif name in TASKS:
        return None
    else:
        raise _unknown(workspace, name)
    check_task(task, load_tokenizer(model), sys.maxsize)  # how much it reads, the model says
    return task


def made_task(
    lm: LanguageModel, name: str, n: int, seed: int = 0, progress: Callable[[int], None] | None = None
) -> Task:
    """A task made now, of those of `n` examples that the model gets right.

    Args:
        lm: the model.
        name: one of `TASKS`.
        n: examples drawn.
        seed: decides which.
        progress: called with the number of prompts done so far, of two for each example.

    Raises:
        UserError: the tokenizer does not allow so many, or the model gets none right.
    """
    task = TASKS[name](lm.tokenizer, n, seed)
    return keep_known(task, answers(lm, task, progress))


def _unknown(workspace: Path, name: str) -> UserError:
    own = task_names(workspace)
    near = difflib.get_close_matches(name, [*own, *TASKS], n=1)
    meant = f"; did you mean {near[0]!r}?" if near else ";"
    return UserError(
        f"there is no task {name!r}{meant} workspace {workspace} has: {', '.join(own) or 'none'}; "
        f"saebench makes: {', '.join(TASKS)}"
    )
