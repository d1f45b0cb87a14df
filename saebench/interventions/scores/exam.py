"""What an intervention is judged by, and how it does: what it forgets, and what that costs."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from saebench.corpus import Contexts
from saebench.interventions.questions.asking import Answers, ask
from saebench.interventions.questions.format import QuestionSet
from saebench.interventions.questions.sides import check_apart
from saebench.interventions.questions.templates import Orders
from saebench.interventions.scores.bootstrap import Estimate, mean_of
from saebench.interventions.scores.loss import Under, text_scores
from saebench.lm import LanguageModel


@dataclass(frozen=True)
class Exam:
    """Questions that the plain model answers right (`known`), and texts.

    Attributes:
        forget: what is to be forgotten.
        controls: what is to be kept.
        retained: text on which cross-entropy added is measured; empty: none is.
        neutral: text on which the divergence is measured; empty: none is.
        orders: whether lettered choices are shown in every order, of which one wrong answer is enough to count as
            forgotten, or, as SAEBench scores, in the given one.

    Raises:
        UserError: one of the sets is empty, or they overlap.
    """

    forget: QuestionSet
    controls: QuestionSet
    retained: Sequence[Contexts] = ()
    neutral: Sequence[Contexts] = ()
    orders: Orders = "given"

    def __post_init__(self) -> None:
        check_apart(self.forget, self.controls)

    @property
    def about(self) -> dict[str, Any]:
        """What decides its figures, as plain data."""
        texts = {
            name: [[len(block), hash_of(block)] for block in text]
            for name, text in (("retained", self.retained), ("neutral", self.neutral))
        }
        return {"forget": self.forget.sha256, "controls": self.controls.sha256, "orders": self.orders, **texts}


class Scores(BaseModel):
    """How an intervention does.

    Attributes:
        forget: share of the forget questions still answered right; less is more forgotten.
        controls: share of the controls still answered right.
        ce_added: cross-entropy added on the retained text, nats per token.
        kl: KL(plain ‖ intervened) on the neutral text, nats per token.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    forget: Estimate
    controls: Estimate
    ce_added: Estimate | None
    kl: Estimate | None


def hash_of(block: Contexts) -> str:
    """Identity of a block of contexts: a hash of its tokens."""
    return hashlib.sha256(block.tokens.tobytes()).hexdigest()


def accuracy(answers: Answers) -> Estimate:
    """Share of the questions answered right; its cases are questions. Of a set that the plain model knows, that is
    relative to the plain model, which has 1."""
    return mean_of(answers.right.numpy().astype(np.float64))


def scores(lm: LanguageModel, under: Under, exam: Exam) -> Scores:
    """Examine a model under an intervention.

    Raises:
        UserError: a question that does not fit the model, logits that are not finite.
    """
    with under():
        forget, controls = (accuracy(ask(lm, questions, exam.orders)) for questions in (exam.forget, exam.controls))
    return Scores(
        forget=forget,
        controls=controls,
        ce_added=text_scores(lm, under, exam.retained).ce_added if exam.retained else None,
        kl=text_scores(lm, under, exam.neutral).kl if exam.neutral else None,
    )
