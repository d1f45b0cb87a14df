"""`saebench circuit heads`: which attention heads a task needs, by discrete codes and by exact patching."""

from typing import Annotated, Literal

import typer

from saebench.circuits.tasks.named import named_task
from saebench.cli.options import DEFAULT_WORKSPACE, WorkspaceDir
from saebench.errors import UserError


def command(
    task: Annotated[str, typer.Argument(help="A task: its name, or a JSONL file (see `saebench circuit tasks`).")],
    model: Annotated[str, typer.Option(help="`demo`, a folder in Hugging Face layout, or a hub name.")] = "demo",
    examples: Annotated[int, typer.Option(min=2, help="Examples to use, of those that the model gets right.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the examples and of the codes.")] = 0,
    latents: Annotated[int, typer.Option(min=1, help="Codes that a head's output can have.")] = 250,
    pooling: Annotated[Literal["mean", "last"], typer.Option(help="Codes are of outputs at these positions.")] = "mean",
    share: Annotated[
        float, typer.Option(min=0, max=1, help="Of the metric's difference: a true head does more.")
    ] = 0.1,
    top: Annotated[int, typer.Option(min=1, help="Heads shown, the strongest first.")] = 40,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
) -> None:
    """Score every attention head by discrete codes, beside the exact effect of patching it."""
    known = named_task(workspace, task)
    if known is not None and known.pairs[0].patch is None:
        raise UserError(f"task {known.name!r} has no patched prompts to compare with; give every example a patch")

    from saebench.cli.circuit.ranking import rank  # torch takes seconds: a misspelt name need not wait for it

    rank(known, task, model, examples, seed, latents, pooling, share, top)
