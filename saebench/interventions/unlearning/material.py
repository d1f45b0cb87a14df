"""What a run reads: questions and texts, one half of every topic's documents to choose by and the other to judge by."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from saebench.corpus import Contexts, Document
from saebench.errors import UserError
from saebench.interventions.questions import QuestionSet
from saebench.interventions.questions.topics import contexts_of, documents_by_topic
from saebench.interventions.scores import Exam
from saebench.interventions.unlearning.config import UnlearnConfig
from saebench.lm import LanguageModel


@dataclass(frozen=True)
class Material:
    """Texts and questions of a run.

    Attributes:
        forget_questions, retain_questions: those that choose features.
        forget_text, retain_text: those that choose features, and train baselines.
        forget_documents: names of the documents that the text to forget was packed from, in their order.
        exam: what judges; no document of it is in the others.
    """

    forget_questions: QuestionSet
    retain_questions: QuestionSet
    forget_text: Sequence[Contexts]
    retain_text: Sequence[Contexts]
    forget_documents: Sequence[str]
    exam: Exam


@dataclass(frozen=True)
class Divided:
    """The documents of a corpus.

    Attributes:
        topics: of every topic, those that choose and those that judge.
        rest: those of no topic.
    """

    topics: Mapping[str, tuple[list[Document], list[Document]]]
    rest: Sequence[Document]


def divide(config: UnlearnConfig) -> Divided:
    """Divide the documents of every topic.

    Raises:
        UserError: topics that overlap or have no documents, a topic of one document, no document besides the topics.
    """
    by_topic = documents_by_topic(config.corpus, {**config.forget, **config.retain})
    if not by_topic[""]:
        raise UserError(f"every document of {config.corpus.name!r} is of a topic: no neutral text is left to judge by")
    names = (*config.forget, *config.retain)
    return Divided({name: halves(by_topic[name], name, config.seed) for name in names}, by_topic[""])


def gather(lm: LanguageModel, questions: QuestionSet, divided: Divided, config: UnlearnConfig) -> Material:
    """Divide questions as their documents are, and make contexts of the texts.

    Raises:
        UserError: a side without questions.
    """
    choosing = {document.name for choose, _ in divided.topics.values() for document in choose}
    sets = {
        (side, half): questions.of(
            question.topic in topics and (question.document in choosing) == (half == "choose")
            for question in questions.questions
        ).model_copy(update={"name": f"{side}-{half}"})
        for side, topics in (("forget", config.forget), ("retain", config.retain))
        for half in ("choose", "judge")
    }
    for (side, half), own in sets.items():
        if not len(own):
            raise UserError(f"no question of the topics to {side} is left to {half} by; make more per topic")

    def documents(half: int, topics: Mapping[str, object]) -> list[Document]:
        return _mixed([d for name in topics for d in divided.topics[name][half]], config)

    forget = documents(0, config.forget)
    return Material(
        sets["forget", "choose"],
        sets["retain", "choose"],
        contexts_of(lm, forget, config.chosen_on),
        contexts_of(lm, documents(0, config.retain), config.chosen_on),
        [document.name for document in forget],
        Exam(
            sets["forget", "judge"],
            sets["retain", "judge"],
            contexts_of(lm, documents(1, config.retain), config.judged_on),
            contexts_of(lm, _mixed(divided.rest, config), config.judged_on),
        ),
    )


def halves(documents: Sequence[Document], topic: str, seed: int) -> tuple[list[Document], list[Document]]:
    """Two halves of about as much text, by document.

    Raises:
        UserError: there is one document only.
    """
    if len(documents) < 2:
        raise UserError(
            f"topic {topic!r} has one document, {documents[0].name}: nothing is left to judge by; add a pattern"
        )
    sides: tuple[list[Document], list[Document]] = ([], [])
    sizes = [0, 0]
    for document in sorted(documents, key=lambda d: (-len(d.text), _drawn(d, seed))):
        smaller = int(sizes[1] < sizes[0])
        sides[smaller].append(document)
        sizes[smaller] += len(document.text)
    return sides


def _mixed(documents: Sequence[Document], config: UnlearnConfig) -> list[Document]:
    """The beginnings of documents, in a drawn order."""
    order = sorted(documents, key=lambda d: _drawn(d, config.seed))
    return [replace(document, text=document.text[: config.document_characters]) for document in order]


def _drawn(document: Document, seed: int) -> bytes:
    return hashlib.sha256(f"{seed} {document.name}".encode()).digest()
