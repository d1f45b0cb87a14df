"""What a person looks at beside the scores: what else changed, and texts continued before and after."""

from collections.abc import Collection, Sequence

import torch
from jaxtyping import Float, Int

from saebench.corpus.tokenization import vocabulary
from saebench.interventions.comparison import compare_next
from saebench.interventions.generation import generate
from saebench.interventions.questions import Question, QuestionSet, ask, said
from saebench.interventions.questions.templates import put
from saebench.interventions.scores import Exam, compared, flips, token_changes, topic_changes, turned
from saebench.interventions.scores.loss import Under
from saebench.interventions.unlearning.result import NextToken, Sample, SideEffects
from saebench.lm import LanguageModel

NEXT = 8
"""Likeliest next tokens of a sample."""


def side_effects(lm: LanguageModel, under: Under, exam: Exam) -> SideEffects:
    """Topics, questions and tokens of an exam that an intervention changes."""
    both = QuestionSet(name="both", questions=(*exam.forget.questions, *exam.controls.questions))
    before = ask(lm, both, exam.orders)
    with under():
        after = ask(lm, both, exam.orders)
        says = said(lm, turned(both, before, after))
    return SideEffects(
        topics=tuple(topic_changes(both, before, after)),
        flips=tuple(flips(both, before, after, says)),
        tokens=tuple(token_changes(lm, compared(lm, under, exam.neutral))),
    )


def samples(
    lm: LanguageModel,
    under: Under,
    hook_points: Sequence[str],
    exam: Exam,
    n: int,
    n_tokens: int,
    turned: Collection[str] = (),
) -> list[Sample]:
    """Prompts of questions, of as many documents as there are, continued before and after.

    Args:
        lm: the model.
        under: puts it under the intervention.
        hook_points: where that acts.
        exam: whose questions give the prompts.
        n: of either side, at most.
        n_tokens: tokens of a continuation.
        turned: ids of questions that turned; of those to forget they come first.
    """
    sides = ((True, exam.forget), (False, exam.controls))
    return [
        _sample(lm, under, hook_points, question, forget, n_tokens)
        for forget, questions in sides
        for question in spread(questions.questions, n, turned if forget else ())
    ]


def spread(questions: Sequence[Question], n: int, turned: Collection[str] = ()) -> list[Question]:
    """At most n questions, of each document the first, by turns of topics; those whose ids are in `turned` first."""
    first: dict[str, Question] = {}
    for question in sorted(questions, key=lambda each: each.id not in turned):
        first.setdefault(question.document or question.id, question)
    by_topic: dict[str, list[Question]] = {}
    for question in first.values():
        by_topic.setdefault(question.topic, []).append(question)
    ranked = sorted(
        ((turn, question) for own in by_topic.values() for turn, question in enumerate(own)),
        key=lambda each: (each[1].id not in turned, each[0]),
    )
    return [question for _, question in ranked[:n]]


def _sample(
    lm: LanguageModel, under: Under, hook_points: Sequence[str], question: Question, forget: bool, n_tokens: int
) -> Sample:
    ((_, way),) = put(lm, QuestionSet(name="sample", questions=(question,)), "given")
    room = max(lm.context_length - n_tokens, 1)
    prompt = torch.tensor(way.prompt[-room:])
    plain, held = generate(lm, prompt, n_tokens), _held(lm, hook_points, prompt)
    with under():
        changed, now = generate(lm, prompt, n_tokens), _held(lm, hook_points, prompt)
    moved = ((now - held).norm(dim=-1) / held.norm(dim=-1).clamp_min(1e-12)).amax(0)
    likeliest, kl = compare_next(plain.logits, changed.logits, NEXT)
    texts = vocabulary(lm.tokenizer)

    def text(tokens: torch.Tensor) -> str:
        return b"".join(texts[token] for token in tokens.tolist()).decode(errors="replace")

    return Sample(
        topic=question.topic,
        forget=forget,
        answer=question.right,
        tokens=tuple(texts[token].decode(errors="replace") for token in prompt.tolist()),
        moved=tuple(moved.tolist()),
        before=text(plain.tokens),
        after=text(changed.tokens),
        kl=kl,
        next=tuple(
            NextToken(text=texts[row.token].decode(errors="replace"), before=row.before, after=row.after)
            for row in likeliest
        ),
    )


@torch.no_grad()
def _held(
    lm: LanguageModel, hook_points: Sequence[str], prompt: Int[torch.Tensor, " prompt"]
) -> Float[torch.Tensor, "hook_points prompt width"]:
    """What the hook points hold for every token, after whatever changes it."""
    found = lm.run(prompt[None], list(hook_points))[1]
    return torch.stack([found[name][0].float() for name in hook_points])
