"""`saebench unlearn known`: of questions that there are already, those that a model answers right."""

from pathlib import Path
from typing import Annotated

import typer

from saebench.cli.progress import console, track
from saebench.cli.unlearn.questions import check_free, set_name, show
from saebench.errors import UserError
from saebench.interventions.questions import QuestionSet, known, read_questions, write_questions
from saebench.interventions.questions.hub import WMDP, read_mmlu, read_wmdp
from saebench.interventions.questions.templates import readable
from saebench.lm import load_lm

SHOWN = 3


def command(
    source: Annotated[str, typer.Argument(help="A JSONL file, wmdp-bio, wmdp-cyber, wmdp-chem, or mmlu:SUBJECT.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="JSONL file to write.")],
    model: Annotated[str, typer.Option(help="`demo`, a folder in Hugging Face layout, or a hub name.")] = "demo",
    dataset: Annotated[
        str | None, typer.Option(help="Folder laid out as cais/wmdp or cais/mmlu, instead of the hub's.")
    ] = None,
    style: Annotated[str, typer.Option(help="How WMDP and MMLU are asked: letters or continuations.")] = "letters",
    replace: Annotated[bool, typer.Option("--replace", help="Replace a file that is there.")] = False,
) -> None:
    """Keep the questions that a model answers right, whatever the order of their choices."""
    check_free(out, replace)
    name = set_name(out)
    questions, refused = _read(source, dataset, style)
    lm = load_lm(model)
    questions, unread = readable(lm, questions)
    with track("questions", len(questions)) as progress:
        right = known(lm, questions, progress).model_copy(update={"name": name})
    write_questions(out, right)
    left_out = [*refused, *unread]
    if left_out:
        console.print(f"left out  {len(left_out):,} that cannot be asked:", markup=False)
        for line in left_out[:SHOWN]:
            console.print(f"  {line}", markup=False)
    console.print(f"known     {len(right):,} of {len(questions):,}", markup=False)
    show(right, out)


def _read(source: str, dataset: str | None, style: str) -> tuple[QuestionSet, list[str]]:
    if style not in ("letters", "continuations"):
        raise UserError(f"--style {style!r} is neither letters nor continuations")
    if source.endswith(".jsonl"):
        return read_questions(Path(source)), []
    kind, _, subject = source.partition(":")
    if kind == "mmlu" and subject:
        return read_mmlu(subject, dataset or "cais/mmlu", style=style)  # type: ignore[arg-type]
    if source in WMDP:
        return read_wmdp(source, dataset or "cais/wmdp", style)  # type: ignore[arg-type]
    raise UserError(f"{source!r} is no JSONL file, none of {', '.join(WMDP)}, and not mmlu:SUBJECT")
