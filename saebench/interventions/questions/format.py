"""The format of questions: a JSON line about the set, then one for each question.

{"questions": "tkinter", "description": "…", "topics": {"tkinter": ["tkinter/*"]}}
{"id": "q1", "question": "What …?", "choices": ["this", "that"], "answer": 0, "topic": "biology"}
{"id": "q2", "prompt": "from tkinter import", "answer": " messagebox", "wrong": [" filedialog"], "topic": "tkinter"}

A line with `choices` is multiple choice, one with `prompt` a cloze question. `answer` of multiple choice is the number
of the right choice, from 0. How multiple choice is asked is data too: `"style": "letters"` (the default) shows the
choices and compares the letters, `"continuations"` compares the choices' own texts behind the question. Those texts and
the answers of cloze questions are taken as they are: a word that follows a space begins with that space.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from saebench.errors import UserError
from saebench.jsonl import headed_text, read_headed, write_text

Style = Literal["letters", "continuations"]
LETTERS = "ABCDEFGHIJ"


class _Question(BaseModel):
    """What all questions have.

    Attributes:
        id: its name, of which a set has no two.
        topic: what it is about; for letters, also said in the prompt.
        document: what it was made from; questions of one document stay together when a set is split.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1)
    topic: str = ""
    document: str = ""


class MultipleChoice(_Question):
    """A question, its choices, and the number of the right one."""

    question: str = Field(min_length=1)
    choices: tuple[str, ...] = Field(min_length=2, max_length=len(LETTERS))
    answer: int
    style: Style = "letters"

    @property
    def asks(self) -> str:
        """The question itself, without its choices."""
        return self.question

    @property
    def right(self) -> str:
        """The right answer's text."""
        return self.choices[self.answer]

    @model_validator(mode="after")
    def _answerable(self) -> Self:
        if not 0 <= self.answer < len(self.choices):
            raise ValueError(
                f"no right answer: answer {self.answer} is none of the choices, which are 0 to {len(self.choices) - 1}"
            )
        _check_apart(self.choices, "choice")
        return self


class Cloze(_Question):
    """A prompt, how it goes on, and how it might go on wrongly."""

    prompt: str = Field(min_length=1)
    answer: str
    wrong: tuple[str, ...] = ()

    @property
    def asks(self) -> str:
        """What is to be completed."""
        return self.prompt

    @property
    def right(self) -> str:
        """The right answer's text."""
        return self.answer

    @model_validator(mode="after")
    def _answerable(self) -> Self:
        if not self.answer:
            raise ValueError("no right answer: answer is empty")
        _check_apart((self.answer, *self.wrong), "answer")
        return self


Question = MultipleChoice | Cloze


class QuestionSet(BaseModel):
    """Questions that are asked together.

    Attributes:
        topics: for sets made from a corpus, the documents that each topic is: patterns of their names (`tkinter/*`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    description: str = ""
    topics: dict[str, tuple[str, ...]] = {}
    questions: tuple[Question, ...] = ()

    def __len__(self) -> int:
        return len(self.questions)

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        seen: set[str] = set()
        for question in self.questions:
            if question.id in seen:
                raise ValueError(f"two questions have the id {question.id!r}; give each its own")
            seen.add(question.id)
        return self

    @property
    def sha256(self) -> str:
        """Identity of the set: a hash of what its file holds."""
        return hashlib.sha256(_text(self).encode()).hexdigest()

    def of(self, kept: Iterable[bool]) -> "QuestionSet":
        """Those questions that are marked."""
        chosen = tuple(question for question, keep in zip(self.questions, kept, strict=True) if keep)
        return self.model_copy(update={"questions": chosen})


def read_questions(path: Path) -> QuestionSet:
    """Read questions.

    Raises:
        UserError: no such file, a line that is not what it should be (the message names it), two questions of one id.
    """
    head, questions = read_headed(
        path,
        "questions",
        ("questions", '{"questions": NAME, …}'),
        lambda about: QuestionSet(**about),
        question_of,
        '{"id": …, "prompt": …, "answer": …} or {"id": …, "question": …, "choices": …, "answer": …}',
    )
    seen: dict[str, int] = {}
    for line, question in enumerate(questions, 2):
        if question.id in seen:
            raise UserError(f"{path}, line {line}: id {question.id!r} is also in line {seen[question.id]}; rename one")
        seen[question.id] = line
    return QuestionSet(questions=tuple(questions), **head)


def question_of(row: dict[str, Any]) -> Question:
    """A question from its values. Raises ValidationError where they are none."""
    return (MultipleChoice if "choices" in row else Cloze).model_validate(row)


def write_questions(path: Path, questions: QuestionSet) -> None:
    """Write questions, whole or not at all. Raises UserError where the file cannot be written."""
    write_text(path, _text(questions))


def _text(questions: QuestionSet) -> str:
    about = {"name": questions.name, **questions.model_dump(include={"description", "topics"})}
    return headed_text("questions", about, (q.model_dump(exclude_defaults=True) for q in questions.questions))


def _check_apart(texts: tuple[str, ...], what: str) -> None:
    for text in texts:
        if not text:
            raise ValueError(f"a {what} is empty")
        if texts.count(text) > 1:
            raise ValueError(f"the {what} {text!r} is there twice; each must be a different one")
