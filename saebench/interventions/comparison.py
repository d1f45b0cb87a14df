"""How far interventions move the prediction of the next token."""

from typing import NamedTuple

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
    logs = [logits.double().log_softmax(0) for logits in (before, after)]
    shares = [each.exp() for each in logs]
    likeliest = shares[0].maximum(shares[1]).topk(min(most, len(shares[0]))).indices.tolist()
    rows = [Next(token, float(shares[0][token]), float(shares[1][token])) for token in likeliest]
    return rows, float((shares[0] * (logs[0] - logs[1])).sum().clamp_min(0))
