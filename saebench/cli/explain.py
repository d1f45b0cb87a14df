"""`saebench explain`: what each feature stands for, and how well that predicts it on other text."""

import os
import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.table import Table

from saebench.cli.options import DEFAULT_WORKSPACE, Overrides, RecipeFile, WorkspaceDir
from saebench.cli.progress import console, track
from saebench.cli.recipe import read_recipe
from saebench.errors import UserError
from saebench.explaining import ExplainConfig, Source, rows
from saebench.explaining.embedding import load_encoder
from store import Annotations, Explanation, FeatureStore

if TYPE_CHECKING:
    from saebench.explaining.chat import Chat

SAVE_EVERY = 256
SHOWN = 50
"""So many features at most are printed one by one."""


class Method(StrEnum):
    """What makes the texts."""

    n2g = rows.N2G
    llm = rows.LLM


class Scorer(StrEnum):
    """What scores the texts besides N2G's own F1."""

    detection = rows.JUDGES[0]
    fuzzing = rows.JUDGES[1]
    embedding = rows.EMBEDDING


def command(
    recipe: RecipeFile = None,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    sae: Annotated[str | None, typer.Option(help="SAE to explain; default: the only indexed one.")] = None,
    corpus: Annotated[str | None, typer.Option(help="Corpus of the index; default: the only one.")] = None,
    method: Annotated[
        Method, typer.Option(help="Token patterns (n2g), or a language model's words (llm).")
    ] = Method.n2g,
    features: Annotated[
        str | None, typer.Option(metavar="LIST", help="As in 0-99,512; default: every feature that is ever active.")
    ] = None,
    score: Annotated[list[Scorer], typer.Option(help="How to score the texts; may be given several times.")] = [],  # noqa: B006
    endpoint: Annotated[str | None, typer.Option(metavar="URL", help="OpenAI-compatible endpoint.")] = None,
    model: Annotated[str | None, typer.Option(help="Name of the language model there.")] = None,
    set: Overrides = [],  # noqa: B006
) -> None:
    """Explain features from half of an index's documents, score the explanations on the other half.

    N2G patterns need nothing but the index. --method llm and --score detection or fuzzing send texts of the index to
    the language model named by --endpoint and --model, its key in $SAEBENCH_API_KEY; nothing is sent without them.
    """
    for key, value in (("endpoint.url", endpoint), ("endpoint.model", model)):
        if value is not None:
            set = [*set, f"explain.{key}={value}"]
    config = read_recipe(recipe, set).explain
    with FeatureStore.open(workspace, threads=1) as store:
        source = Source(store.index(sae, corpus), config)
        wanted = chosen(features, source)
        annotations = Annotations(workspace)
        run(source, annotations, method, [*dict.fromkeys(score)], wanted)
        show(source, annotations, method, wanted)


def run(
    source: Source, annotations: Annotations, method: Method, scorers: Sequence[Scorer], features: list[int]
) -> None:
    """Make what is missing of the explanations and scores, and keep it as it is finished."""
    judges = [scorer for scorer in scorers if scorer is not Scorer.embedding]
    encoder = load_encoder(source.config.encoder) if Scorer.embedding in scorers else None
    asks = bool(judges) or method is Method.llm
    chat = open_chat(source.config) if asks else None
    name = source.config.endpoint.model
    if method is Method.n2g:
        known = rows.kept(source, annotations, method, name)
        missing = [feature for feature in features if feature not in known]
        made = ((feature, [row] if row else []) for feature, row in rows.n2g_rows(source, missing))
        silent = save(annotations, "n2g", made, len(missing))
        if silent:
            console.print(f"{silent:,} features are active only in the text kept for scoring: not explained")
    if chat is not None:
        known = rows.kept(source, annotations, method, name)
        missing = [
            feature for feature in features
            if feature not in known or not all(rows.scored(known[feature], source, judge, name) for judge in judges)
        ]  # fmt: skip
        with chat:
            if missing:
                console.print(f"asking {chat.model} at {chat.url} about {len(missing):,} features")
            made_by_chat = rows.llm_rows(source, chat, method, judges, known, missing)
            save(annotations, "ask", made_by_chat, len(missing), every=1)
    if encoder is not None:
        known = rows.kept(source, annotations, method, name)
        scorer, encoder_name = Scorer.embedding, source.config.encoder
        missing = [f for f in features if f in known and not rows.scored(known[f], source, scorer, encoder_name)]
        found = rows.embedding_rows(source, encoder, method, known, missing)
        save(annotations, "embed", ((feature, [row] if row else []) for feature, row in found), len(missing))


def save(
    annotations: Annotations,
    label: str,
    made: Iterable[tuple[int, list[Explanation]]],
    total: int,
    every: int = SAVE_EVERY,
) -> int:
    """Write rows to the catalogue as they come, `every` features together; returns how many features have none."""
    waiting: list[Explanation] = []
    without = 0
    if not total:
        return 0
    with track(label, total) as progress:
        try:
            for done, (feature, found) in enumerate(made, start=1):
                waiting += found
                without += not found
                if done % every == 0:
                    annotations.add_explanations(waiting)
                    waiting = []
                progress(done, f"feature {feature}")
        finally:
            annotations.add_explanations(waiting)
    return without


def open_chat(config: ExplainConfig) -> "Chat":
    """The language model of the settings; nothing is sent yet.

    Raises:
        UserError: none is named, or the optional package is missing.
    """
    try:
        from saebench.explaining.chat import Chat
    except ImportError:
        raise UserError("asking a language model needs httpx: pip install 'saebench[explain]'") from None
    return Chat(config.endpoint, os.environ.get(config.endpoint.key_variable))


def chosen(features: str | None, source: Source) -> list[int]:
    """The features of a list such as "0-99,512", ascending; without a list, those that are ever active.

    Raises:
        UserError: no such list, or no such feature.
    """
    alive = source.alive()
    if features is None:
        return alive
    found: dict[int, None] = {}
    for part in features.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", part)
        if match is None or (match[2] is not None and int(match[2]) < int(match[1])):
            raise UserError(f"--features {features!r}: {part!r} is no feature or range; write for example 0-99,512")
        first, last = int(match[1]), int(match[2] or match[1])
        if last >= source.index.n_features:
            raise UserError(f"--features: {source.index.id} has no feature {last}; it has 0 to "
                            f"{source.index.n_features - 1}")  # fmt: skip
        found.update(dict.fromkeys(range(first, last + 1)))
    living = frozenset(alive)
    return sorted(feature for feature in found if feature in living)


def show(source: Source, annotations: Annotations, method: Method, features: list[int]) -> None:
    """Print the explanations of a few features, or how the scores of many are distributed."""
    wanted = frozenset(features)
    known = rows.kept(source, annotations, method, source.config.endpoint.model)
    found = [row for feature, own in known.items() if feature in wanted for row in own]
    if not found:
        console.print("nothing to explain: none of these features is active in the text that explains")
    elif len({row.feature for row in found}) <= SHOWN:
        for row in found:
            score = "" if row.scorer is None else f"{row.scorer} " + ("–" if row.score is None else f"{row.score:.2f}")
            console.print(f"{row.feature:>6}  {score:<14}  {row.text}", markup=False)
    else:
        for row in [row for row in found if row.scorer == rows.N2G_SCORER][:1]:
            learnt, scored = row.info["learnt_from"]["n_tokens"], row.info["n_tokens"]
            where = f"{scored:,} tokens in {row.info['n_contexts']:,} contexts"
            console.print(f"patterns learnt from {learnt:,} tokens, scored on {where}; no document is in both")
        console.print(distribution(found))


def distribution(found: Sequence[Explanation]) -> Table:
    """How many features score how well, one column per scorer."""
    scorers = sorted({row.scorer for row in found if row.scorer is not None})
    table = Table("score", *scorers, box=None, pad_edge=False)
    values = {s: np.array([row.score for row in found if row.scorer == s and row.score is not None]) for s in scorers}
    counts = {s: np.histogram(values[s], np.linspace(0, 1, 11))[0] for s in scorers}
    for tenth in range(10):
        cells = (
            f"{counts[s][tenth]:>6,} {'█' * round(24 * counts[s][tenth] / max(1, counts[s].max()))}" for s in scorers
        )
        table.add_row(f"{tenth / 10:.1f}–{(tenth + 1) / 10:.1f}", *cells)
    unscored = {s: sum(row.scorer == s and row.score is None for row in found) for s in scorers}
    table.add_row("none", *(f"{unscored[s]:>6,}" for s in scorers))
    for name, share in (("median", 0.5), ("quartile 1", 0.25), ("quartile 3", 0.75)):
        table.add_row(name, *(f"{np.quantile(values[s], share):>6.2f}" if len(values[s]) else "–" for s in scorers))
    table.add_row("mean", *(f"{values[s].mean():>6.2f}" if len(values[s]) else "–" for s in scorers))
    return table
