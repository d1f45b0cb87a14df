"""Texts of data as batches of tokens.

Decisions: texts of a batch are padded at their ends, which a causal model cannot see from before; the token that
begins every sequence and the padding count for nothing, neither in the probe's mean, nor in effects, nor for ablation:
SAEs are not trained on them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from saebench.circuits.shift.examples import Example
from saebench.lm import LanguageModel


@dataclass(frozen=True)
class Texts:
    """Examples of data as a model reads them.

    Attributes:
        tokens: token ids.
        counted: which of them stand for text.
        rows: numbers of the examples in the data they come from.
    """

    tokens: Int[Tensor, "examples context"]
    counted: Bool[Tensor, "examples context"]
    rows: Int[Tensor, " examples"]

    def __len__(self) -> int:
        return len(self.tokens)


def encoded(lm: LanguageModel, examples: Sequence[Example], size: int) -> list[Texts]:
    """The examples in batches of at most `size`, shorter ones first; what a model cannot read of a text is cut off."""
    bos = [] if lm.tokenizer.bos_token_id is None else [lm.tokenizer.bos_token_id]
    room = lm.context_length - len(bos)
    ids = [lm.tokenizer(e.text, add_special_tokens=False)["input_ids"][:room] for e in examples]
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    return [_padded(ids, order[start : start + size], bos) for start in range(0, len(order), size)]


def _padded(ids: Sequence[list[int]], rows: list[int], bos: list[int]) -> Texts:
    width = len(bos) + max(len(ids[row]) for row in rows)
    tokens = torch.zeros(len(rows), width, dtype=torch.long)
    counted = torch.zeros(len(rows), width, dtype=torch.bool)
    for at, row in enumerate(rows):
        end = len(bos) + len(ids[row])
        tokens[at, :end] = torch.tensor(bos + ids[row])
        counted[at, len(bos) : end] = True
    return Texts(tokens, counted, torch.tensor(rows))
