"""`saebench circuit tasks`: which tasks there are, how well a model does them; make one."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from saebench.circuits.tasks import Task, write_task
from saebench.circuits.tasks.files import find_task, task_names, task_path
from saebench.circuits.tasks.known import Answers, answers, keep_known
from saebench.circuits.tasks.registry import TASKS
from saebench.cli.options import DEFAULT_WORKSPACE, WorkspaceDir
from saebench.cli.progress import console, track
from saebench.errors import UserError
from saebench.files import file_sha256
from saebench.lm import LanguageModel, load_lm


def command(
    name: Annotated[str | None, typer.Argument(help="Task to make; without one, all are listed.")] = None,
    examples: Annotated[int, typer.Option(min=1, help="So many are generated.")] = 200,
    seed: Annotated[int, typer.Option(help="Decides which.")] = 0,
    model: Annotated[str, typer.Option(help="`demo`, a folder in Hugging Face layout, or a hub name.")] = "demo",
    top1: Annotated[bool, typer.Option("--top1", help="Keep only answers likelier than any other token.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a task of this name that differs.")] = False,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
) -> None:
    """List tasks and how well a model does them, or make one of those examples that it gets right."""
    if name is None:
        show_all(load_lm(model), examples, seed, workspace)
        return
    if name not in TASKS:
        raise UserError(f"there is no generator of task {name!r}; there are: {', '.join(TASKS)}")
    lm = load_lm(model)
    task = TASKS[name](lm.tokenizer, examples, seed)
    found = ask(lm, task)
    kept = keep_known(task, found, "top1" if top1 else "preferred")
    path = task_path(workspace, name)
    if path.exists() and not replace and file_sha256(path) != kept.sha256:
        raise UserError(f"{path} holds another task of that name; move it away, or replace it with --replace")
    write_task(path, kept)
    table = _table()
    table.add_row(name, *_figures(found), escape(kept.description))
    console.print(table)
    console.print(f"task      {path}: {len(kept.pairs):,} of {examples:,} examples", markup=False)


def ask(lm: LanguageModel, task: Task) -> Answers:
    """A model's answers, with a progress bar."""
    prompts = sum(1 + (pair.patch is not None) for pair in task.pairs)
    with track(task.name, prompts) as progress:
        return answers(lm, task, progress)


def show_all(lm: LanguageModel, examples: int, seed: int, workspace: Path) -> None:
    """Print every task that can be made or is in the workspace, and what the model makes of it."""
    made: dict[str, Callable[[], Task]] = {
        name: partial(generate, lm.tokenizer, examples, seed) for name, generate in TASKS.items()
    }
    kept = {f"tasks/{name}.jsonl": partial(find_task, workspace, name) for name in task_names(workspace)}
    table, refused = _table(), []
    with track("tasks", len(made) + len(kept)) as progress:
        for done, (name, task_of) in enumerate((made | kept).items()):
            progress(done, name)
            try:
                task = task_of()
                table.add_row(name, *_figures(answers(lm, task)), escape(task.description))
            except UserError as error:  # one that this model cannot read hides none of the others
                refused.append(f"{name}: {error}")
        progress(len(made) + len(kept))
    console.print(table)
    for line in refused:
        console.print(line, markup=False)
    console.print(
        f"model {lm.name}; top-1: the answer is likelier than any other token; answer > wrong: likelier than the wrong "
        "one; reversed: after the patched prompt it is the other way round"
    )


def _table() -> Table:
    numbers = [Column(name, justify="right") for name in ("examples", "top-1", "answer > wrong", "reversed")]
    return Table("task", *numbers, "what it is", box=None, pad_edge=False)


def _figures(found: Answers) -> Iterator[str]:
    yield f"{len(found.top1):,}"
    for right in (found.top1, found.preferred, found.reversed):
        yield "–" if right is None else f"{right.float().mean():.1%}"
