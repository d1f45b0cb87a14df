"""Questions as a selection needs them: tokens, the token that answers them, and those that would be wrong."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from saebench.errors import UserError
from saebench.lm import LanguageModel

TOGETHER = 256
"""Prompts of one length in one pass."""


@dataclass(frozen=True)
class Prompt:
    """A question put to a model.

    Attributes:
        tokens: the begin token among them where the model wants one; the answer follows the last.
        answer: the right next token.
        wrong: the other choices; empty where every other token is wrong.
    """

    tokens: tuple[int, ...]
    answer: int
    wrong: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.tokens:
            raise UserError("a question without tokens; give it a prompt")
        if self.answer in self.wrong:
            raise UserError(f"token {self.answer} is both the right and a wrong answer of one question")


Right = Callable[[LanguageModel, Sequence[Prompt]], Bool[Tensor, " prompts"]]
"""Which questions a model, in whatever state it is, answers right."""


def grouped(prompts: Sequence[Prompt]) -> Iterator[list[int]]:
    """Numbers of prompts of one length, at most `TOGETHER`, so that nothing need be padded."""
    lengths: dict[int, list[int]] = {}
    for number, prompt in enumerate(prompts):
        lengths.setdefault(len(prompt.tokens), []).append(number)
    for _, rows in sorted(lengths.items()):
        for start in range(0, len(rows), TOGETHER):
            yield rows[start : start + TOGETHER]


@torch.no_grad()
def answered_right(lm: LanguageModel, prompts: Sequence[Prompt]) -> Bool[Tensor, " prompts"]:
    """Whether the right answer's logit is above those of all wrong ones (above all others, where none are named)."""
    out = torch.zeros(len(prompts), dtype=torch.bool)
    for rows in grouped(prompts):
        tokens = torch.tensor([prompts[row].tokens for row in rows])
        logits = lm.run(tokens)[0][:, -1].cpu()
        out[rows] = torch.stack([_right(one, prompts[row]) for one, row in zip(logits, rows, strict=True)])
    return out


def _right(logits: Float[Tensor, " vocab"], prompt: Prompt) -> Bool[Tensor, ""]:
    others = (
        logits[list(prompt.wrong)]
        if prompt.wrong
        else torch.cat([logits[: prompt.answer], logits[prompt.answer + 1 :]])
    )
    return logits[prompt.answer] > others.max()
