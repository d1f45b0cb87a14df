"""Detection and fuzzing: can a language model, given an explanation, tell where the feature is active?

After Paulo, Mallen, Juang and Belrose, "Automatically Interpreting Millions of Features in Large Language Models"
(2024). Detection shows texts and asks which contain the feature at all; fuzzing shows texts in which the feature is
active, with tokens marked, and asks where the marks are on the right tokens.

Decisions:
- The score is balanced accuracy, the mean of the share of positives and the share of negatives that are recognised: .5
  for guessing, also where one class is rarer. (F1 would give .67 to whoever always says yes.)
- In fuzzing the negatives are the positives' own texts with as many marks on tokens where the feature is silent. So it
  measures what detection cannot: whether the explanation says on which token the feature fires.
- Answers that cannot be read are asked for once more, then left out and counted; they are neither right nor wrong.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saebench.explaining.windows import Window

if TYPE_CHECKING:
    from saebench.explaining.chat import Chat

READ_TRIES = 2
_COMMON = (
    "You are given a description of what a feature of a neural network responds to, and {n} numbered texts. {task} "
    "Answer with nothing but a list of {n} numbers in the order of the texts, 1 for yes and 0 for no, as in {example}."
)
_TASKS = {
    "detection": "For each text, decide whether it contains anything that the description fits.",
    "fuzzing": (
        "In each text some tokens stand between « and ». For each text, decide whether the description fits exactly "
        "the tokens that are marked, rather than others in the text."
    ),
}
_LIST = re.compile(r"\[\s*[01](?:\s*,\s*[01])*\s*,?\s*\]")


@dataclass(frozen=True)
class Judgement:
    """How many of each kind of example were recognised.

    Attributes:
        positives, negatives: that got an answer; right_positives, right_negatives: the right one.
        unanswered: examples without a readable answer.
    """

    positives: int
    right_positives: int
    negatives: int
    right_negatives: int
    unanswered: int

    @property
    def score(self) -> float | None:
        """Balanced accuracy; None without an answer to both kinds."""
        if not self.positives or not self.negatives:
            return None
        return (self.right_positives / self.positives + self.right_negatives / self.negatives) / 2


def judge(
    chat: Chat,
    scorer: str,
    explanation: str,
    positives: Sequence[Window],
    negatives: Sequence[Window],
    per_prompt: int,
    rng: np.random.Generator,
) -> Judgement:
    """Ask about all examples, shuffled, `per_prompt` at a time.

    Args:
        scorer: "detection" or "fuzzing".
        rng: decides the order.
    """
    examples = [(window, True) for window in positives] + [(window, False) for window in negatives]
    examples = [examples[i] for i in rng.permutation(len(examples))]
    seen, right = {True: 0, False: 0}, {True: 0, False: 0}
    unanswered = 0
    for first in range(0, len(examples), per_prompt):
        together = examples[first : first + per_prompt]
        answers = _ask(chat, scorer, explanation, [window for window, _ in together])
        if answers is None:
            unanswered += len(together)
            continue
        for (_, truth), answer in zip(together, answers, strict=True):
            seen[truth] += 1
            right[truth] += answer == truth
    return Judgement(seen[True], right[True], seen[False], right[False], unanswered)


def _ask(chat: Chat, scorer: str, explanation: str, windows: Sequence[Window]) -> list[bool] | None:
    n = len(windows)
    example = str([int(i % 3 == 0) for i in range(n)])
    system = _COMMON.format(n=n, task=_TASKS[scorer], example=example)
    texts = [window.highlighted if scorer == "fuzzing" else window.plain for window in windows]
    numbered = "\n".join(f"Text {number}: {text}" for number, text in enumerate(texts, start=1))
    for _ in range(READ_TRIES):
        answers = parse(chat.ask(system, f"Description: {explanation}\n\n{numbered}"), n)
        if answers is not None:
            return answers
    return None


def parse(answer: str, n: int) -> list[bool] | None:
    """The last list of n zeros and ones in an answer, if there is one."""
    lists = [[digit == "1" for digit in re.findall("[01]", found)] for found in _LIST.findall(answer)]
    return next((found for found in reversed(lists) if len(found) == n), None)
