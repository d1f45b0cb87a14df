"""WMDP (Li et al. 2024) and MMLU (Hendrycks et al. 2021) through `datasets`: from the hub, or a folder laid out alike.

Rows have `question`, `choices` and `answer`, the number of the right choice.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from saebench.errors import UserError
from saebench.interventions.questions.format import MultipleChoice, QuestionSet, Style
from saebench.jsonl import first_of

WMDP = {"wmdp-bio": "biology", "wmdp-cyber": "cybersecurity", "wmdp-chem": "chemistry"}
"""Configurations, and what lm-evaluation-harness says that they are about."""
COLUMNS = ("question", "choices", "answer")


def read_wmdp(
    config: str = "wmdp-bio", path: str = "cais/wmdp", style: Style = "letters"
) -> tuple[QuestionSet, list[str]]:
    """The questions of one part of WMDP, and a line about each that cannot be asked.

    Raises:
        UserError: no such part, a dataset that cannot be opened or has other columns, or nothing that can be asked.
    """
    if config not in WMDP:
        raise UserError(f"WMDP has no part {config!r}; it has: {', '.join(WMDP)}")
    return read_hub(path, config, "test", config, WMDP[config], style)


def read_mmlu(
    subject: str, path: str = "cais/mmlu", split: str = "test", style: Style = "letters"
) -> tuple[QuestionSet, list[str]]:
    """The questions of one subject of MMLU (`all`: of every one), and a line about each that cannot be asked.

    Raises:
        UserError: a dataset that cannot be opened or has other columns, or nothing that can be asked.
    """
    return read_hub(path, subject, split, f"mmlu-{subject}", subject, style)


def read_hub(
    path: str, config: str, split: str, name: str, topic: str, style: Style = "letters"
) -> tuple[QuestionSet, list[str]]:
    """Multiple choice of a hub dataset, and a line about each row that cannot be asked (no right answer, two choices
    alike). A row's own `subject` is its topic, `topic` that of rows without.

    Raises:
        UserError: a dataset that cannot be opened or has other columns, or nothing that can be asked.
    """
    import datasets

    try:
        rows = datasets.load_dataset(path, config, split=split)
    except Exception as error:  # the library raises its own, requests', and built-in errors here
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"cannot open {config!r} of dataset {path!r}: {reason}") from None
    if missing := [column for column in COLUMNS if column not in rows.column_names]:
        raise UserError(
            f"{config!r} of dataset {path!r} has no column {missing[0]!r} (it has: {', '.join(rows.column_names)})"
        )
    questions, refused = [], []
    for number, row in enumerate(rows):
        try:
            questions.append(_question(f"{name}#{number}", row, topic, style))
        except ValidationError as error:
            refused.append(f"{name}#{number}: {first_of(error)}")
    if not questions:
        why = f"; the first: {refused[0]}" if refused else ""
        raise UserError(f"{config!r} of dataset {path!r} has no question that can be asked{why}")
    return QuestionSet(name=name, description=f"{path} {config}, {split}", questions=tuple(questions)), refused


def _question(name: str, row: Mapping[str, Any], topic: str, style: Style) -> MultipleChoice:
    question, choices = row["question"].strip(), tuple(row["choices"])
    if style == "continuations":
        question, choices = f"{question}\nAnswer:", tuple(f" {choice}" for choice in choices)
    return MultipleChoice(
        id=name,
        question=question,
        choices=choices,
        answer=row["answer"],
        topic=row.get("subject") or topic,
        style=style,
    )
