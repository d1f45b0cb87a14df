"""A task for a model: whether its tokenizer reads one that is there, and one made of what it gets right."""

import sys
from collections.abc import Callable

from saebench.circuits.tasks.check import check_task
from saebench.circuits.tasks.known import answers, keep_known
from saebench.circuits.tasks.pairs import Task
from saebench.circuits.tasks.registry import TASKS
from saebench.lm import LanguageModel
from saebench.lm.tokenizer import load_tokenizer


def check_readable(task: Task, model: str) -> None:
    """Check a task by a model's tokenizer, without opening the model: what it cannot read is refused at once.

    Raises:
        UserError: as `check_task`, but for prompts that are longer than the model reads.
    """
    check_task(task, load_tokenizer(model), sys.maxsize)


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
