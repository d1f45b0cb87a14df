"""Explanations of many features, one row at a time, ready for the catalogue.

Decisions:
- A row says in `info` what it was made with (index content, split, settings). A later run leaves alone what was made
  with just this and replaces the rest: so a stopped run goes on, and a changed setting or a new index starts anew.
- One row per scorer; the text stands in each, so that a score never speaks of another text than its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from saebench.explaining import embedding, judging, n2g, words
from saebench.explaining.patterns import describe, written
from saebench.explaining.source import Examples, Source
from store.annotations import Annotations
from store.explanation import Explanation

if TYPE_CHECKING:
    from saebench.explaining.chat import Chat

Item = TypeVar("Item")
T = TypeVar("T")
N2G, LLM = "n2g", "llm"
N2G_VERSION, N2G_SCORER = "1", "n2g-f1"
JUDGES = ("detection", "fuzzing")
EMBEDDING = "embedding"
SPLIT = "scoring"


def text_made_with(source: Source, method: str) -> dict[str, Any]:
    """What decides a method's texts."""
    return source.made_with("fraction") if method == N2G else source.made_with("examples", "window")


def score_made_with(source: Source, scorer: str, model: str | None) -> dict[str, Any]:
    """What decides a scorer's scores besides the text."""
    chosen = ("positives", "negatives", "window", *(("per_prompt",) if scorer in JUDGES else ()))
    return {"model": model, **{name: getattr(source.config, name) for name in chosen}}


def version(method: str, model: str | None) -> str:
    """The version of a method's texts; a language model's name is part of it."""
    return N2G_VERSION if method == N2G else f"{words.VERSION}-{model}"


def kept(source: Source, annotations: Annotations, method: str, model: str | None) -> dict[int, list[Explanation]]:
    """The rows in the catalogue whose text a run would make anew just so, by feature."""
    meta, made_with = source.index.meta, text_made_with(source, method)
    found: dict[int, list[Explanation]] = {}
    for row in annotations.explanations(meta["sae_id"], corpus=meta["corpus_id"]):
        same = row.method == method and row.version == version(method, model)
        if same and row.info.get("made_with") == made_with:
            found.setdefault(row.feature, []).append(row)
    return found


def scored(rows: Iterable[Explanation], source: Source, scorer: str, model: str | None) -> bool:
    """Whether one of a feature's rows has this score."""
    wanted = score_made_with(source, scorer, model)
    return any(row.scorer == scorer and row.info.get("scored_with") == wanted for row in rows)


def n2g_rows(source: Source, features: Sequence[int]) -> Iterator[tuple[int, Explanation | None]]:
    """(feature, its patterns with their F1); None for one that is never active in the explaining half."""
    config, halves = source.config, source.halves
    for found in source.activations(features):
        if not len(found.explaining.slots):
            yield found.feature, None
            continue
        threshold = config.fraction * float(found.explaining.values[0])
        strong = found.explaining.above(threshold)
        rules = n2g.learn(halves.explaining, strong)
        patterns = n2g.patterns_of(rules)
        result = n2g.count(halves.scoring, patterns, found.scoring.above(threshold))
        yield found.feature, _row(
            source, found.feature, N2G, None, describe(patterns, source.index.vocabulary), result.f1, N2G_SCORER,
            precision=result.precision, recall=result.recall,
            correct=result.correct, matched=result.matched, strong=result.strong, threshold=threshold,
            n_tokens=halves.scoring.n_tokens, n_contexts=halves.scoring.n_contexts,
            learnt_from={"strong": len(strong), "n_tokens": halves.explaining.n_tokens},
            patterns=[{"text": written(rule.pattern, source.index.vocabulary), "strong": rule.strong,
                       "matched": rule.matched} for rule in rules],
        )  # fmt: skip


def llm_rows(
    source: Source,
    chat: Chat,
    method: str,
    scorers: Sequence[str],
    known: dict[int, list[Explanation]],
    features: Sequence[int],
) -> Iterator[tuple[int, list[Explanation]]]:
    """(feature, its new rows), as they are finished, with many requests under way at once.

    Args:
        scorers: of JUDGES.
        known: rows that need not be made again, by feature; their text is scored rather than another one made. Only the
            method "llm" makes texts of its own.
        features: ascending.
    """

    def work(examples: Examples) -> tuple[int, list[Explanation]]:
        rows = known.get(examples.feature, [])
        if not rows and (method == N2G or not examples.explaining):
            return examples.feature, []
        text = rows[0].text if rows else words.explain(chat, examples.explaining)
        missing = [scorer for scorer in scorers if not scored(rows, source, scorer, chat.model)]
        new = [_judged(source, chat, method, scorer, text, examples) for scorer in missing]
        if not new and not rows:
            new = [_row(source, examples.feature, method, chat.model, text, None, None)]
        return examples.feature, new

    yield from side_by_side(work, source.examples(features), source.config.endpoint.concurrency, chat.stop)


def embedding_rows(
    source: Source,
    encoder: embedding.Encoder,
    method: str,
    known: dict[int, list[Explanation]],
    features: Sequence[int],
) -> Iterator[tuple[int, Explanation | None]]:
    """(feature, its text with its embedding score); None for one without a text."""
    for examples in source.examples(features):
        rows = known.get(examples.feature, [])
        if not rows:
            yield examples.feature, None
            continue
        result = embedding.auc(encoder, rows[0].text, examples.positives, examples.negatives)
        row = rows[0]
        info = _scored_with(source, EMBEDDING, source.config.encoder, examples)
        yield examples.feature, Explanation(
            row.sae, row.corpus, row.feature, method, row.version, row.text, result, EMBEDDING, SPLIT,
            info={"made_with": row.info["made_with"], **info},
        )  # fmt: skip


def _judged(source: Source, chat: Chat, method: str, scorer: str, text: str, examples: Examples) -> Explanation:
    negatives = examples.mismarked if scorer == "fuzzing" else examples.negatives
    rng = np.random.default_rng([source.config.seed, examples.feature])
    result = judging.judge(chat, scorer, text, examples.positives, negatives, source.config.per_prompt, rng)
    counts = {
        "positives": result.positives, "right_positives": result.right_positives, "negatives": result.negatives,
        "right_negatives": result.right_negatives, "unanswered": result.unanswered,
    }  # fmt: skip
    more = _scored_with(source, scorer, chat.model, examples) | counts
    return _row(source, examples.feature, method, chat.model, text, result.score, scorer, **more)


def _scored_with(source: Source, scorer: str, model: str | None, examples: Examples) -> dict[str, Any]:
    return {
        "scored_with": score_made_with(source, scorer, model),
        "positives": len(examples.positives),
        "negatives": len(examples.negatives),
    }


def _row(
    source: Source,
    feature: int,
    method: str,
    model: str | None,
    text: str,
    score: float | None,
    scorer: str | None,
    **info: Any,
) -> Explanation:
    meta = source.index.meta
    return Explanation(
        meta["sae_id"], meta["corpus_id"], feature, method, version(method, model), text, score, scorer,
        None if scorer is None else SPLIT, info={"made_with": text_made_with(source, method), **info},
    )  # fmt: skip


def side_by_side(
    work: Callable[[Item], T], items: Iterable[Item], workers: int, abandon: Callable[[], None]
) -> Iterator[T]:
    """Results of `work(item)` as they come, from several threads; items are taken only as threads get free.

    If one fails, no further one begins, what is still finished is yielded, and then the error is raised.

    Args:
        work, items, workers: as above.
        abandon: called when the rest will not be wanted any more.
    """
    pool = ThreadPoolExecutor(workers)
    running: set[Future[T]] = set()
    failure: BaseException | None = None
    source = iter(items)
    try:
        for item in itertools.islice(source, workers):
            running.add(pool.submit(work, item))
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                error = future.exception()
                if error is None:
                    yield future.result()
                elif failure is None:
                    failure = error
                    abandon()
            if failure is None:
                running |= {pool.submit(work, item) for item in itertools.islice(source, len(done))}
        if failure is not None:
            raise failure
    finally:
        abandon()
        pool.shutdown(cancel_futures=True)
