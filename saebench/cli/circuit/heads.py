"""`saebench circuit heads`: which attention heads a task needs, by discrete codes and by exact patching."""

from typing import Annotated, Literal

import typer
from rich.table import Column, Table

from saebench.circuits.batches import batches
from saebench.circuits.discrete import Identified, Settings, harvest, identify
from saebench.circuits.heads import Match, above_mean, all_heads, matched
from saebench.circuits.patching import Patched, head_effects
from saebench.circuits.tasks.check import check_task
from saebench.circuits.tasks.chosen import existing_task, made_task
from saebench.cli.options import DEFAULT_WORKSPACE, WorkspaceDir
from saebench.cli.progress import console, track
from saebench.errors import UserError
from saebench.lm import load_lm

BATCH = 50
"""Examples in a pass."""


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
    known = existing_task(workspace, task, model)
    if known is not None and known.pairs[0].patch is None:
        raise UserError(f"task {known.name!r} has no patched prompts to compare with; give every example a patch")
    lm = load_lm(model)
    chosen = known or made_task(lm, task, examples, seed)
    given = batches(check_task(chosen, lm.tokenizer, lm.context_length), BATCH, range(min(examples, len(chosen.pairs))))
    found = identify(lm, harvest(lm, given, pooling), Settings(latents=latents, seed=seed))
    with track("patching", len(given) * len(all_heads(lm))) as progress:
        patched = head_effects(lm, given, on_progress=progress)
    show(patched, found, share, top)
    n = sum(map(len, given))
    console.print(
        f"{n} examples of {chosen.name}: metric {patched.clean:.3f}, after the patched prompt {patched.patch:.3f}",
        markup=False,
    )
    console.print(f"codes     {in_words(matched(found.counts, above_mean(found.counts), patched.true(share)), share)}")


def show(patched: Patched, found: Identified, share: float, top: int) -> None:
    """Print the heads by their exact effect."""
    numbers = [Column(name, justify="right") for name in ("own codes", "node score", "exact effect", "of difference")]
    table = Table("head", *numbers, "true", box=None, pad_edge=False)
    true, difference = patched.true(share), patched.clean - patched.patch
    for head in sorted(patched.effects, key=lambda head: -abs(patched.effects[head]))[:top]:
        effect = patched.effects[head]
        table.add_row(
            str(head),
            f"{found.counts[head]:.0f}",
            f"{found.scores[head]:.4f}",
            f"{effect:+.4f}",
            f"{effect / difference:+.1%}" if difference else "–",
            "✔" if head in true else "",
        )
    console.print(table)


def in_words(found: Match, share: float) -> str:
    """How the codes agree with the exact effects, in a line."""
    auc = "–" if found.roc_auc is None else f"{found.roc_auc:.3f}"
    return (
        f"ROC-AUC {auc} for the {found.n_true} heads with more than {share:.0%} of the difference; of the "
        f"{found.n_chosen} with more codes than the mean, precision {found.precision:.2f}, recall {found.recall:.2f}"
    )
