"""What `saebench circuit heads` does once its names are known: rank the heads of a task, and show them."""

from typing import Literal

from rich.table import Column, Table

from saebench.circuits.batches import batches
from saebench.circuits.discrete import Identified, Settings, harvest, identify
from saebench.circuits.heads import Match, above_mean, all_heads, matched
from saebench.circuits.patching import Patched, head_effects
from saebench.circuits.tasks import Task
from saebench.circuits.tasks.check import check_task
from saebench.circuits.tasks.chosen import check_readable, made_task
from saebench.cli.progress import console, track
from saebench.lm import load_lm

BATCH = 50
"""Examples in a pass."""


def rank(
    known: Task | None, task: str, model: str, examples: int, seed: int, latents: int, pooling: Literal["mean", "last"],
    share: float, top: int,
) -> None:  # fmt: skip
    """Score every head by discrete codes and by patching it; `known` is the task, if it need not be made.

    Raises:
        UserError: a task that the model cannot read or do.
    """
    if known is not None:
        check_readable(known, model)
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
