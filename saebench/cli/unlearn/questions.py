"""`saebench unlearn questions`: questions on topics of a corpus that a model already answers right."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from saebench.cli.options import Overrides
from saebench.cli.progress import console, track
from saebench.config import CorpusConfig, Section, load_recipe
from saebench.errors import UserError
from saebench.interventions.questions import BuildConfig, QuestionSet, build_questions, write_questions
from saebench.interventions.questions.topics import parse_topic
from saebench.lm import load_lm


class Settings(Section):
    """What `--set` reaches."""

    corpus: CorpusConfig = CorpusConfig()
    build: BuildConfig = BuildConfig()


def command(
    corpus: Annotated[str, typer.Argument(help="stdlib-train, a file or folder, or a hub dataset.")],
    topic: Annotated[
        list[str],
        typer.Option(metavar="NAME[=PATTERN,…]", help="Documents by name, e.g. tkinter or gui=tkinter/*,turtle.py."),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="JSONL file to write.")],
    form: Annotated[str | None, typer.Option(help="cloze, or choices: multiple choice by continuations.")] = None,
    per_topic: Annotated[int | None, typer.Option(help="Questions of a topic, at most.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides which.")] = None,
    model: Annotated[str, typer.Option(help="`demo`, a folder in Hugging Face layout, or a hub name.")] = "demo",
    replace: Annotated[bool, typer.Option("--replace", help="Replace a file that is there.")] = False,
    set: Overrides = [],  # noqa: B006
) -> None:
    """Make questions on topics of a corpus: words that the model completes, as cloze or multiple choice."""
    check_free(out, replace)
    given = {"corpus.name": corpus, "build.form": form, "build.per_topic": per_topic, "build.seed": seed}
    overrides = [f"{key}={value}" for key, value in given.items() if value is not None]
    settings = load_recipe(Settings, None, [*set, *overrides])
    topics = dict(map(parse_topic, topic))
    if len(topics) < len(topic):
        raise UserError("two topics have the same name; join their patterns with a comma, or rename one")
    lm = load_lm(model)
    with track("questions", len(topics) * settings.build.per_topic) as progress:
        found = build_questions(lm, settings.corpus, topics, settings.build, set_name(out), progress)
    write_questions(out, found)
    show(found, out)


def check_free(out: Path, replace: bool) -> None:
    """Raise UserError if the file is there and may not be replaced."""
    if out.exists() and not replace:
        raise UserError(f"{out} exists; choose another file, or replace it with --replace")


def set_name(out: Path) -> str:
    """The name of a set by the name of its file. Raises UserError where that can name none."""
    if not out.stem[:1].isascii() or not out.stem[:1].isalnum() or not out.stem.isascii() or " " in out.stem:
        raise UserError(f"{out.name!r} names no set of questions; use letters, digits, . - _, a letter or digit first")
    return out.stem


def show(questions: QuestionSet, out: Path) -> None:
    """Print how many questions there are of each topic."""
    table = Table("topic", "questions", "documents", box=None, pad_edge=False)
    counts = Counter(question.topic for question in questions.questions)
    for topic, count in counts.items():
        documents = {question.document for question in questions.questions if question.topic == topic} - {""}
        table.add_row(topic or "–", f"{count:,}", f"{len(documents):,}" if documents else "–")
    console.print(table)
    console.print(f"questions {out}: {len(questions):,}", markup=False)
