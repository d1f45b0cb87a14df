"""How well a model does a task, and the examples of it that it knows."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from saebench.circuits.tasks.check import check_task
from saebench.circuits.tasks.pairs import Task
from saebench.errors import UserError
from saebench.lm import LanguageModel

Criterion = Literal["preferred", "top1"]
BATCH_TOKENS = 2048
"""Tokens in one pass: logits of all of them are in memory together."""


@dataclass(frozen=True)
class Answers:
    """What a model makes of each example.

    Attributes:
        top1: `answer` is the likeliest next token after `clean`.
        preferred: it is likelier than `wrong`; None where the task has no wrong answers.
        reversed: after `patch` it is the other way round; None where the task has no patches or no wrong answers.
    """

    top1: Bool[Tensor, " examples"]
    preferred: Bool[Tensor, " examples"] | None
    reversed: Bool[Tensor, " examples"] | None


def answers(lm: LanguageModel, task: Task, progress: Callable[[int], None] | None = None) -> Answers:
    """Ask a model every example of a task.

    Args:
        lm: the model.
        task: the task.
        progress: called with the number of prompts done so far.

    Raises:
        UserError: the task does not fit the model; see `check_task`.
    """
    encoded = check_task(task, lm.tokenizer, lm.context_length)
    prompts = encoded.clean + (encoded.patch or [])
    last = last_logits(lm, prompts, progress)
    clean, patch = last[: len(encoded)], last[len(encoded) :]
    rows, answer = torch.arange(len(encoded)), torch.tensor(encoded.answers)
    top1 = clean.argmax(1) == answer
    if encoded.wrongs is None:
        return Answers(top1, None, None)
    wrong = torch.tensor(encoded.wrongs)
    preferred = clean[rows, answer] > clean[rows, wrong]
    return Answers(top1, preferred, patch[rows, wrong] > patch[rows, answer] if encoded.patch else None)


@torch.no_grad()
def last_logits(
    lm: LanguageModel, prompts: Sequence[Sequence[int]], progress: Callable[[int], None] | None = None
) -> Float[Tensor, "prompts vocab"]:
    """Logits behind the last token of every prompt, on the CPU. Prompts of one length share passes, so that none is
    ever padded."""
    alike: dict[int, list[int]] = defaultdict(list)
    for row, prompt in enumerate(prompts):
        alike[len(prompt)].append(row)
    found = torch.empty(len(prompts), lm.d_vocab)
    done = 0
    for length, rows in alike.items():
        for some in torch.tensor(rows).split(max(1, BATCH_TOKENS // length)):
            found[some] = lm.last_logits(torch.tensor([prompts[row] for row in some.tolist()])).cpu()
            done += len(some)
            if progress is not None:
                progress(done)
    return found


def keep_known(task: Task, found: Answers, criterion: Criterion = "preferred") -> Task:
    """The examples whose clean prompt the model answers right.

    Args:
        task: the task.
        found: what `answers` gives for it.
        criterion: `preferred`, where the answer is likelier than the wrong one; `top1`, where it is likelier than
            anything else, as it is for tasks without wrong answers.

    Raises:
        UserError: there are none.
    """
    right = found.top1 if criterion == "top1" or found.preferred is None else found.preferred
    if not right.any():
        raise UserError(f"the model gets none of the {len(right)} examples of task {task.name!r} right")
    pairs = tuple(pair for pair, keep in zip(task.pairs, right.tolist(), strict=True) if keep)
    return task.model_copy(update={"pairs": pairs})
