"""How far interventions move the prediction of the next token."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Next(NamedTuple):
    """A token that may come next, and its probability without and with interventions."""

    token: int
    before: float
    after: float


def compare_next(
    before: Float[Tensor, " vocab"], after: Float[Tensor, " vocab"], most: int
) -> tuple[list[Next], float]:
    """The `most` likeliest tokens by the larger of their two probabilities, and KL(before ‖ after) in nats, of two
    vectors of logits.
    """
    return [Next(token, *shares) for token, shares in likeliest([before, after], most)], divergence(before, after)


def likeliest(logits: Sequence[Float[Tensor, " vocab"]], most: int) -> list[tuple[int, list[float]]]:
    """The `most` likeliest tokens by the largest of their probabilities, and these, of several vectors of logits."""
    shares = torch.stack([each.double().softmax(0) for each in logits])
    tokens = shares.amax(0).topk(min(most, shares.shape[1])).indices.tolist()
    return [(token, shares[:, token].tolist()) for token in tokens]


def divergence(before: Float[Tensor, " vocab"], after: Float[Tensor, " vocab"]) -> float:
    """KL(before ‖ after) of two vectors of logits, nats."""
    was, now = (each.double().log_softmax(0) for each in (before, after))
    return float((was.exp() * (was - now)).sum().clamp_min(0))
