"""What an intervention does to a model's predictions of text: cross-entropy added, and divergence from the plain model.

Decisions: only predictions whose target is text count, as for an SAE's reconstruction; both passes of a block of
contexts are made one after the other and reduced to figures for each token, so memory does not grow with the text.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from saebench.corpus import Contexts
from saebench.errors import UserError
from saebench.interventions.generation import finite
from saebench.interventions.questions.asking import LOGITS_AT_ONCE
from saebench.interventions.scores.bootstrap import Estimate, ratio_of
from saebench.lm import LanguageModel

Under = Callable[[], AbstractContextManager[None]]
"""Gives a context in which the model stands under the intervention: `lambda: intervened(lm, interventions, saes)`."""


@dataclass(frozen=True)
class Compared:
    """The predictions of a block of contexts without and with an intervention, in float64.

    Attributes:
        targets: the tokens that are predicted.
        counted: which of them stand for text.
        before: cross-entropy of each, nats, of the plain model.
        after: under the intervention.
        kl: KL(plain ‖ intervened) of the distribution that each was predicted by, nats.
    """

    targets: Int[Tensor, "contexts n"]
    counted: Bool[Tensor, "contexts n"]
    before: Float[Tensor, "contexts n"]
    after: Float[Tensor, "contexts n"]
    kl: Float[Tensor, "contexts n"]


class TextScores(BaseModel):
    """What an intervention does to the predictions of a text.

    Attributes:
        ce: cross-entropy of the plain model, nats per token.
        ce_added: that under the intervention minus `ce`; its cases are contexts.
        kl: mean KL(plain ‖ intervened), nats per token; its cases are contexts.
        tokens: predictions that count.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ce: float
    ce_added: Estimate
    kl: Estimate
    tokens: int


@torch.no_grad()
def compared(
    lm: LanguageModel,
    under: Under,
    contexts: Iterable[Contexts],
    progress: Callable[[int], None] | None = None,
) -> Iterator[Compared]:
    """Predictions of every block without and with an intervention.

    Args:
        lm: the model; what it stands under already counts as plain.
        under: puts it under the intervention.
        contexts: the text, in blocks.
        progress: called with the number of contexts done so far.

    Raises:
        UserError: logits that are not finite.
    """
    done = 0
    for block in contexts:
        size = max(1, LOGITS_AT_ONCE // (block.tokens.shape[1] * lm.d_vocab))
        for start in range(0, len(block), size):
            tokens = torch.from_numpy(block.tokens[start : start + size]).long()
            counted = torch.from_numpy(~block.special[start : start + size])[:, 1:]
            plain = finite(lm.run(tokens)[0])[:, :-1].flatten(0, 1)
            with under():
                changed = finite(lm.run(tokens)[0])[:, :-1].flatten(0, 1)
            targets = tokens[:, 1:]
            figures = _figures(plain, changed, targets.flatten().to(plain.device)).cpu()
            before, after, kl = figures.view(3, *targets.shape)
            yield Compared(targets, counted, before, after, kl)
            done += len(tokens)
            if progress is not None:
                progress(done)


def text_scores(
    lm: LanguageModel, under: Under, contexts: Iterable[Contexts], progress: Callable[[int], None] | None = None
) -> TextScores:
    """Cross-entropy added and divergence on a text, with intervals over its contexts.

    Args:
        lm, under, contexts, progress: as `compared`.

    Raises:
        UserError: no text, or logits that are not finite.
    """
    rows: list[np.ndarray] = []
    for block in compared(lm, under, contexts, progress):
        figures = (block.before, block.after - block.before, block.kl, torch.ones_like(block.kl))
        rows.append(torch.stack([torch.where(block.counted, each, 0).sum(1) for each in figures]).numpy())
    sums = np.concatenate(rows, 1) if rows else np.zeros((4, 0))
    before, added, kl, counts = sums[:, sums[3] > 0]
    if not len(counts):
        raise UserError("there is no text to measure on; choose documents that have some")
    return TextScores(
        ce=float(before.sum() / counts.sum()),
        ce_added=ratio_of(added, counts),
        kl=ratio_of(kl, counts),
        tokens=int(counts.sum()),
    )


def _figures(
    plain: Float[Tensor, "rows vocab"], changed: Float[Tensor, "rows vocab"], targets: Int[Tensor, " rows"]
) -> Float[Tensor, "3 rows"]:
    """(cross-entropy before, after, KL) of each row; a few rows at a time are made float64."""
    size = max(1, LOGITS_AT_ONCE // (8 * plain.shape[1]))
    parts = []
    for p, q, target in zip(plain.split(size), changed.split(size), targets.split(size), strict=True):
        log_p, log_q = p.double().log_softmax(-1), q.double().log_softmax(-1)
        before, after = (-each.gather(1, target[:, None])[:, 0] for each in (log_p, log_q))
        parts.append(torch.stack([before, after, (log_p.exp() * (log_p - log_q)).sum(-1)]))
    return torch.cat(parts, 1)
