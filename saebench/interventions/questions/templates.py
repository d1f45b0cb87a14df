"""Questions as what a model reads and what it may say.

Letters are asked with the template of MMLU (Hendrycks et al. 2021) and WMDP (Li et al. 2024), without examples:

    The following are multiple choice questions (with answers) about biology.

    What …?
    A. this
    B. that
    Answer:

and the letter behind it, one token with the space before it. Continuations are asked as lm-evaluation-harness asks
`multiple_choice`: each choice by the log-probability of its text behind the question.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

from saebench.corpus.tokenization import SourceTokenizer
from saebench.errors import UserError
from saebench.interventions.questions.format import LETTERS, Cloze, MultipleChoice, Question, QuestionSet
from saebench.lm import LanguageModel

Orders = Literal["every", "given"]
MOST_PERMUTED = 4
"""Choices of which every permutation is asked (24); of more, every rotation, so that each choice has every letter."""


@dataclass(frozen=True)
class Asked:
    """One way to put one question.

    Attributes:
        prompt: token ids, opened by the begin token where the model has one.
        says: token ids of what may follow: the right answer, then the wrong ones.
        greedy: whether it is right to say what is likeliest of all, rather than likelier than the wrong answers.
    """

    prompt: list[int]
    says: list[list[int]]
    greedy: bool


def put(lm: LanguageModel, questions: QuestionSet, orders: Orders = "every") -> Iterator[tuple[int, Asked]]:
    """(number of the question, one way to put it), for all questions.

    Raises:
        UserError: an answer that is joined to the end of its prompt or has no token, a letter that is not one token,
            answers that are the same tokens, a prompt over the context length. The message names the question.
    """
    source = SourceTokenizer(lm.tokenizer)
    bos = [] if lm.tokenizer.bos_token_id is None else [lm.tokenizer.bos_token_id]
    for number, question in enumerate(questions.questions):
        for prompt, says in worded(question, orders):
            where = f"questions {questions.name!r}, question {question.id!r}"
            try:
                ids, endings = encoded(source, prompt, says)
                if isinstance(question, MultipleChoice) and question.style == "letters":
                    _check_letters(endings)
            except UserError as error:
                raise UserError(f"{where}: {error}") from None
            length = len(bos) + len(ids) + max(map(len, endings)) - 1
            if length > lm.context_length:
                raise UserError(
                    f"{where}: {length} tokens with its longest answer, the model reads {lm.context_length}; "
                    "shorten the question or leave it out"
                )
            yield number, Asked(bos + ids, endings, isinstance(question, Cloze))


def worded(question: Question, orders: Orders = "every") -> Iterator[tuple[str, list[str]]]:
    """(prompt, the right answer and then the wrong ones) of every way to put a question."""
    if isinstance(question, Cloze):
        yield question.prompt, [question.answer, *question.wrong]
    elif question.style == "continuations":
        yield question.question, right_first(question.choices, question.answer)
    else:
        about = f" about {question.topic.replace('_', ' ')}" if question.topic else ""
        head = f"The following are multiple choice questions (with answers){about}.\n\n{question.question}\n"
        letters = [f" {letter}" for letter in LETTERS[: len(question.choices)]]
        for order in orders_of(len(question.choices)) if orders == "every" else [range(len(question.choices))]:
            lines = (f"{LETTERS[at]}. {question.choices[choice]}\n" for at, choice in enumerate(order))
            yield f"{head}{''.join(lines)}Answer:", right_first(letters, list(order).index(question.answer))


def orders_of(n: int) -> list[tuple[int, ...]]:
    """The orders in which `n` choices are shown; the given one is the first."""
    if n <= MOST_PERMUTED:
        return list(permutations(range(n)))
    return [tuple((start + i) % n for i in range(n)) for start in range(n)]


def encoded(source: SourceTokenizer, prompt: str, says: Sequence[str]) -> tuple[list[int], list[list[int]]]:
    """Token ids of a prompt, and of each text behind it; tokenizing the whole shows what the model would see.

    Raises:
        UserError: a text that is joined to the prompt's end, has no token, or is the same tokens as another.
    """
    (ids, _), *wholes = source.encode([prompt, *(prompt + text for text in says)])
    n = len(ids)
    if not n:
        raise UserError("the prompt has no token")
    endings: list[list[int]] = []
    for text, (whole, _) in zip(says, wholes, strict=True):
        if whole[:n].tolist() != ids.tolist():
            raise UserError(f"answer {text!r} is joined to the end of the prompt; begin it where a token begins")
        ending = whole[n:].tolist()
        if not ending:
            raise UserError(f"answer {text!r} has no token")
        if ending in endings:
            raise UserError(f"answer {text!r} is the same tokens as another answer")
        endings.append(ending)
    return ids.tolist(), endings


def right_first(texts: Sequence[str], right: int) -> list[str]:
    """Texts of choices as they are compared: the right one, then the others in their order."""
    return [texts[right], *(text for at, text in enumerate(texts) if at != right)]


def _check_letters(endings: Sequence[list[int]]) -> None:
    if any(len(ending) != 1 for ending in endings):
        raise UserError(
            'letters behind "Answer:" are not one token each for this tokenizer; ask with "style": "continuations"'
        )


def readable(lm: LanguageModel, questions: QuestionSet) -> tuple[QuestionSet, list[str]]:
    """The questions that a model can be asked, and a line about each that it cannot.

    Raises:
        UserError: there are none.
    """
    refused: dict[str, str] = {}
    for question in questions.questions:
        try:
            list(put(lm, questions.model_copy(update={"questions": (question,)})))
        except UserError as error:
            refused[question.id] = str(error)
    if len(refused) == len(questions):
        why = f"; the first: {next(iter(refused.values()))}" if refused else ""
        raise UserError(f"the model {lm.name} can be asked none of the questions of {questions.name!r}{why}")
    return questions.of(question.id not in refused for question in questions.questions), list(refused.values())
