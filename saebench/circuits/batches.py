"""Examples of a task as batches of tokens.

Decisions: a batch holds examples of one length, so nothing is padded and the answer always follows the last token.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.circuits.tasks.check import Encoded


@dataclass(frozen=True)
class Batch:
    """Examples of one length.

    Attributes:
        clean: token ids.
        patch: those of the patched prompts; None in unpaired tasks.
        answer: the right next token of each.
        wrong: the token that would be right behind the patched prompt; None where the task names none.
        rows: numbers of the examples in the task.
    """

    clean: Int[Tensor, "examples context"]
    patch: Int[Tensor, "examples context"] | None
    answer: Int[Tensor, " examples"]
    wrong: Int[Tensor, " examples"] | None
    rows: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.clean)


Terms = dict[str, Float[Tensor, " examples"]]
Metric = Callable[[Float[Tensor, "examples vocab"], Batch], Terms]
"""(logits behind the last token, the examples) → named terms of each example, which add up to its metric."""


def logit_difference(logits: Float[Tensor, "examples vocab"], batch: Batch) -> Terms:
    """logit(answer) − logit(wrong), or logit(answer) alone: Marks et al.'s metric with its sign turned round."""
    terms = {"answer": logits.gather(1, batch.answer[:, None])[:, 0]}
    if batch.wrong is not None:
        terms["wrong"] = -logits.gather(1, batch.wrong[:, None])[:, 0]
    return terms


def single(function: Callable[[Float[Tensor, "examples vocab"], Batch], Float[Tensor, " examples"]]) -> Metric:
    """A user's own function of logits and examples as a metric of one term."""
    return lambda logits, batch: {"metric": function(logits, batch)}


def total(terms: Terms) -> Float[Tensor, " examples"]:
    """The metric of each example."""
    return torch.stack(list(terms.values())).sum(0)


def batches(encoded: Encoded, size: int, rows: Iterable[int] | None = None) -> list[Batch]:
    """The examples numbered by `rows` (or all) in batches of at most `size`, shorter ones first."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for row in range(len(encoded.clean)) if rows is None else rows:
        by_length[len(encoded.clean[row])].append(row)
    return [
        _batch(encoded, own[start : start + size])
        for _, own in sorted(by_length.items())
        for start in range(0, len(own), size)
    ]


def _batch(encoded: Encoded, rows: Sequence[int]) -> Batch:
    def of(column: Sequence[list[int]] | Sequence[int] | None) -> Tensor | None:
        return None if column is None else torch.tensor([column[row] for row in rows])

    clean, answer = of(encoded.clean), of(encoded.answers)
    assert clean is not None
    assert answer is not None
    return Batch(clean, of(encoded.patch), answer, of(encoded.wrongs), tuple(rows))
