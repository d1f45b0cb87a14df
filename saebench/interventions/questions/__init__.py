"""Questions by which an intervention is judged: multiple choice and cloze, from files, the hub, or made from a corpus.

from saebench.interventions.questions import ask, known, read_questions

mine = known(lm, read_questions(path))
with intervened(lm, [Zero(sae="demo", feature=12)], saes):
    print(ask(lm, mine).right.float().mean())
"""

from saebench.interventions.questions.asking import Answers, ask, known, said
from saebench.interventions.questions.build import BuildConfig, build_questions
from saebench.interventions.questions.format import (
    Cloze,
    MultipleChoice,
    Question,
    QuestionSet,
    read_questions,
    write_questions,
)
from saebench.interventions.questions.sides import check_apart, split

__all__ = [
    "Answers",
    "BuildConfig",
    "Cloze",
    "MultipleChoice",
    "Question",
    "QuestionSet",
    "ask",
    "build_questions",
    "check_apart",
    "known",
    "read_questions",
    "said",
    "split",
    "write_questions",
]
