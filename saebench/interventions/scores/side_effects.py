"""What else an intervention changes: accuracy of each topic, questions that turn, tokens predicted otherwise."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from saebench.corpus import Contexts
from saebench.corpus.tokenization import vocabulary
from saebench.errors import UserError
from saebench.interventions.questions.asking import Answers
from saebench.interventions.questions.format import QuestionSet
from saebench.interventions.scores.bootstrap import Estimate, mean_of
from saebench.interventions.scores.loss import Compared
from saebench.lm import LanguageModel

LEAST = 10
"""Times that a text must have a token, so that a mean over them says something."""


class TopicChange(BaseModel):
    """Accuracy on one topic before and after, and the difference question by question (its interval is paired)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    topic: str
    before: Estimate
    after: Estimate
    difference: Estimate


class Flip(BaseModel):
    """A question that was answered right and no longer is, or the other way round; margins in nats.

    Attributes:
        asks: the question, or what is to be completed.
        answer: the right one.
        says: what the model says now (`questions.said`). Results of before these texts were kept have none of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    topic: str
    asks: str = ""
    answer: str = ""
    says: str = ""
    became_right: bool
    margin_before: float
    margin_after: float


class TokenChange(BaseModel):
    """A token as a target: cross-entropy added, nats, mean over the `count` times that the text has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    token: int
    text: str
    added: float
    before: float
    count: int


def topic_changes(questions: QuestionSet, before: Answers, after: Answers) -> list[TopicChange]:
    """Accuracy by topic, in the order in which topics first come.

    Raises:
        UserError: answers to other questions.
    """
    _check_same(questions, before, after)
    topics: dict[str, list[int]] = {}
    for row, question in enumerate(questions.questions):
        topics.setdefault(question.topic, []).append(row)
    was, now = (answers.right.numpy().astype(np.float64) for answers in (before, after))
    return [
        TopicChange(
            topic=topic, before=mean_of(was[rows]), after=mean_of(now[rows]), difference=mean_of(now[rows] - was[rows])
        )
        for topic, rows in topics.items()
    ]


def turned(questions: QuestionSet, before: Answers, after: Answers) -> QuestionSet:
    """The questions that were answered right and no longer are, or the other way round.

    Raises:
        UserError: answers to other questions.
    """
    _check_same(questions, before, after)
    return questions.of((before.right != after.right).tolist())


def flips(questions: QuestionSet, before: Answers, after: Answers, says: Sequence[str]) -> list[Flip]:
    """Questions that turned, those whose margin changed most first.

    Args:
        questions: all that were asked.
        before: what the plain model made of them.
        after: what it made of them under the intervention.
        says: what it says there to those that are `turned`.

    Raises:
        UserError: answers to other questions.
    """
    _check_same(questions, before, after)
    rows = (before.right != after.right).nonzero()[:, 0].tolist()
    found = [
        Flip(
            id=questions.questions[row].id,
            topic=questions.questions[row].topic,
            asks=questions.questions[row].asks,
            answer=questions.questions[row].right,
            says=said,
            became_right=bool(after.right[row]),
            margin_before=float(before.margin[row]),
            margin_after=float(after.margin[row]),
        )
        for row, said in zip(rows, says, strict=True)
    ]
    return sorted(found, key=lambda flip: -abs(flip.margin_after - flip.margin_before))


def check_often(contexts: Iterable[Contexts], least: int = LEAST) -> None:
    """Raise UserError if `token_changes` could say nothing of a text, in which no token is predicted so often."""
    counts = Counter[int]()
    for block in contexts:
        counts.update(block.tokens[:, 1:][~block.special[:, 1:]].tolist())
    if max(counts.values(), default=0) < least:
        raise _too_few(least)


def token_changes(
    lm: LanguageModel, blocks: Iterable[Compared], least: int = LEAST, most: int = 50
) -> list[TokenChange]:
    """The tokens that an intervention makes harder or easier to predict, largest mean change first.

    Args:
        lm: the model, for the tokens' texts.
        blocks: what `loss.compared` gives for a text.
        least: times that the text must have a token.
        most: tokens in the table.

    Raises:
        UserError: no token is there so often.
    """
    sums = torch.zeros(3, lm.d_vocab, dtype=torch.float64)  # added, before, count
    for block in blocks:
        targets = block.targets[block.counted]
        before, after = block.before[block.counted], block.after[block.counted]
        sums.index_add_(1, targets, torch.stack([after - before, before, torch.ones_like(before)]))
    often = (sums[2] >= least).nonzero()[:, 0]
    if not len(often):
        raise _too_few(least)
    added, before, count = sums[0, often] / sums[2, often], sums[1, often] / sums[2, often], sums[2, often]
    texts = vocabulary(lm.tokenizer)
    order: Sequence[int] = added.abs().argsort(descending=True, stable=True)[:most].tolist()
    return [
        TokenChange(
            token=int(often[i]),
            text=texts[int(often[i])].decode(errors="replace"),
            added=float(added[i]),
            before=float(before[i]),
            count=int(count[i]),
        )
        for i in order
    ]


def _too_few(least: int) -> UserError:
    return UserError(f"the text has no token {least} times; measure on more text, or ask for fewer times")


def _check_same(questions: QuestionSet, before: Answers, after: Answers) -> None:
    if not len(questions) == len(before) == len(after):
        raise UserError(
            f"questions {questions.name!r} are {len(questions)}, the answers {len(before)} before and {len(after)} "
            "after; ask the same questions twice"
        )
