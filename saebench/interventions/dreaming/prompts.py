"""Prompts as a language model and an SAE score them, as few of their tokens read as can be.

Decisions: a begin token stands before each prompt where the model wants one (it has a score of its own nowhere, but
from it the first token of the prompt is predicted). A child differs from its parent from one token on: what the parent
has before it (keys, values, predictions) is the child's too, so that only the rest is read, children that differ at the
same token together. That halves the work.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.errors import UserError
from saebench.interventions.dreaming.epo import Births, Scores
from saebench.interventions.dreaming.target import Target
from saebench.lm import LanguageModel
from saebench.lm.prefix import can_be_cut, cut

ROWS = 256
"""Prompts that are read at once, at most."""
TOGETHER = 2
"""Neighbouring places at which children that are read together differ: few long passes against many short ones."""


class Parents(NamedTuple):
    """Prompts with their scores, their gradients, and what their children share with them."""

    prompts: Int[Tensor, "members n"]
    scores: Scores
    gradient: Float[Tensor, "members n vocab"]
    log_shares: Float[Tensor, "members predicted vocab"]
    """Log-probabilities of every token at every place of the prompt that is predicted."""
    cache: Any


class Prompts:
    """How a language model and a feature of an SAE on it score prompts.

    Raises UserError where the SAE does not fit the model.
    """

    def __init__(self, lm: LanguageModel, target: Target) -> None:
        self._lm, self._target = lm, target
        self._point = target.hook_point
        lm.check_hook_points([self._point])
        begin = lm.tokenizer.bos_token_id
        self._begin = torch.tensor([] if begin is None else [begin], dtype=torch.long)
        self._unpredicted = 1 - len(self._begin)  # tokens of a prompt that nothing comes before
        width = lm.activations(torch.zeros(1, 1, dtype=torch.long), [self._point])[self._point].shape[-1]
        if width != target.width:
            raise UserError(
                f"the SAE reads activations of width {target.width}; the model's have {width} at {self._point}"
            )
        self._embeddings = lm.embeddings()

    def graded(self, prompts: Int[Tensor, "members n"], penalties: Float[Tensor, " members"]) -> Parents:
        """Scores, and gradients of −t + penalty · cross-entropy in the one-hot tokens.

        A token acts twice: through its embedding, and as what is predicted at its place.
        """
        read = self._lm.traced(self._with_begin(prompts), [self._point])
        with torch.enable_grad():
            log_shares = read.logits[:, :-1].log_softmax(-1)
            cross_entropy = -_at(log_shares, prompts[:, self._unpredicted :]).mean(1)
            x = read.found[self._point][:, -1].float()
            target = self._target.pre_activation(x)
            loss = (cross_entropy * penalties.to(x.device) - target).sum()
            (slope,) = torch.autograd.grad(loss, read.embedded)
        gradient = slope[:, len(self._begin) :].float() @ self._embeddings.float().T
        log_shares = log_shares.detach()
        shared = penalties.to(x.device)[:, None, None] / log_shares.shape[1]
        gradient[:, self._unpredicted :] -= shared * log_shares
        scores = self._scores(x.detach(), cross_entropy.detach())
        return Parents(prompts, scores, gradient.cpu(), log_shares, read.cache)

    def children(self, parents: Parents, births: Births) -> Scores:
        """Scores of prompts that differ from `parents` in one token each."""
        if not can_be_cut(parents.cache):
            return self.whole(births.prompts(parents.prompts))
        order, parts = [], []
        for start in range(0, parents.prompts.shape[1], TOGETHER):
            here = (births.position >= start) & (births.position < start + TOGETHER)
            for group in here.nonzero()[:, 0].split(ROWS):
                order.append(group)
                parts.append(self._from(parents, Births(*(column[group] for column in births)), start))
        back = torch.cat(order).argsort()
        x, cross_entropy = (torch.cat(column)[back] for column in zip(*parts, strict=True))
        return self._scores(x, cross_entropy)

    def whole(self, prompts: Int[Tensor, "some n"]) -> Scores:
        """Scores of any prompts, read from their beginning."""
        return Scores.joined([self._whole(part) for part in prompts.split(ROWS)])

    @torch.no_grad()
    def by_token(self, prompt: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The feature's activation at every token of a prompt."""
        found = self._lm.activations(self._with_begin(prompt[None]), [self._point])[self._point]
        return self._target.activation(found[0, len(self._begin) :]).cpu()

    @torch.no_grad()
    def _whole(self, prompts: Int[Tensor, "some n"]) -> Scores:
        logits, found, _ = self._lm.run(self._with_begin(prompts), [self._point])
        surprise = -_at(logits[:, :-1].log_softmax(-1), prompts[:, self._unpredicted :])
        return self._scores(found[self._point][:, -1].float(), surprise.mean(1))

    @torch.no_grad()
    def _from(
        self, parents: Parents, births: Births, start: int
    ) -> tuple[Float[Tensor, "some width"], Float[Tensor, " some"]]:
        """(activations at the last token, cross-entropy) of children that are as their parents before `start`."""
        prompts, n_before = births.prompts(parents.prompts), start + len(self._begin)
        cache = cut(parents.cache, births.member, n_before) if n_before else None
        logits, found, _ = self._lm.run(prompts[:, start:], [self._point], cache)
        before = prompts[:, self._unpredicted : start + 1].to(logits.device)
        shared = parents.log_shares[births.member[:, None], torch.arange(before.shape[1]), before]
        after = _at(logits[:, :-1].log_softmax(-1), prompts[:, start + 1 :])
        return found[self._point][:, -1].float(), -torch.cat([shared, after], 1).mean(1)

    @torch.no_grad()
    def _scores(self, x: Float[Tensor, "some width"], cross_entropy: Float[Tensor, " some"]) -> Scores:
        scores = Scores(self._target.pre_activation(x), self._target.activation(x), cross_entropy)
        return Scores(*(score.cpu() for score in scores))

    def _with_begin(self, prompts: Int[Tensor, "some n"]) -> Int[Tensor, "some read"]:
        return torch.cat([self._begin.expand(len(prompts), -1), prompts], 1)


def _at(
    log_shares: Float[Tensor, "some places vocab"], tokens: Int[Tensor, "some places"]
) -> Float[Tensor, "some places"]:
    """The log-probability of each token at its place."""
    return log_shares.gather(2, tokens.to(log_shares.device)[..., None])[..., 0]
