"""Sets side by side: what is to be forgotten and what kept, and what chooses features and what scores them."""

import hashlib
from collections import defaultdict

from saebench.errors import UserError
from saebench.interventions.questions.format import Cloze, Question, QuestionSet


def check_apart(forget: QuestionSet, retain: QuestionSet) -> None:
    """Raise UserError if one of the sets is empty or they have a question, or a document, in common."""
    for role, own in (("forget", forget), ("retain", retain)):
        if not len(own):
            raise UserError(f"the {role} set {own.name!r} has no questions; give it some that the model answers right")
    sets = f"forget set {forget.name!r} and retain set {retain.name!r}"
    by_text = {said(question): question.id for question in forget.questions}
    documents = {question.document for question in forget.questions} - {""}
    for question in retain.questions:
        if said(question) in by_text:
            raise UserError(
                f"{sets} overlap: question {by_text[said(question)]!r} of one is {question.id!r} of the other; "
                "leave it out of one of them"
            )
        if question.document in documents:
            raise UserError(
                f"{sets} overlap: both have questions from {question.document}; choose topics of different documents"
            )


def said(question: Question) -> tuple[str, ...]:
    """What makes a question the same as another: its text and its right answer."""
    if isinstance(question, Cloze):
        return question.prompt, question.answer
    return question.question, question.choices[question.answer]


def split(questions: QuestionSet, share: float = 0.5, seed: int = 0) -> tuple[QuestionSet, QuestionSet]:
    """Two sets, one to choose features by and one to score with, without a document in common.

    Documents (a question without one stands for itself) come in an order that depends on `seed` and their names alone;
    of each topic, the first ones are taken until they have `share` of its questions.

    Raises:
        UserError: a topic all of whose questions are from one document.
    """
    by_topic: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for question in questions.questions:
        by_topic[question.topic][question.document or question.id].append(question.id)
    first: set[str] = set()
    for topic, documents in by_topic.items():
        if len(documents) == 1:
            (only,) = documents
            raise UserError(
                f"questions {questions.name!r}: all of topic {topic!r} are from {only}; they cannot be split without a "
                "document in common: take a topic of several documents"
            )
        order = sorted(documents, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())
        goal, taken = share * sum(map(len, documents.values())), 0
        for name in order[:-1]:
            if taken and taken + len(documents[name]) / 2 > goal:
                break
            first.update(documents[name])
            taken += len(documents[name])
    return (
        questions.of(question.id in first for question in questions.questions),
        questions.of(question.id not in first for question in questions.questions),
    )
