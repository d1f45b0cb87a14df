"""Activations straight from the model to the trainer, nothing written."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from saebench.corpus import Corpus
from saebench.lm import LanguageModel


class StreamSource:
    """Blocks of activation rows of one hook point, one forward pass each, the corpus read again and again.

    Rows of special tokens are left out.

    Attributes:
        d_model: width of a row.
    """

    def __init__(self, lm: LanguageModel, corpus: Corpus, hook_point: str, *, batch_contexts: int = 32) -> None:
        lm.check_hook_points([hook_point])
        self.lm = lm
        self.corpus = corpus
        self.hook_point = hook_point
        self.batch_contexts = batch_contexts
        probe = torch.zeros(1, 1, dtype=torch.long)
        self.d_model = lm.activations(probe, [hook_point])[hook_point].shape[-1]

    def blocks(self, start: int = 0) -> Iterator[Float[Tensor, "rows d_model"]]:
        """Yield float32 blocks for ever, from block number `start` of the sequence on.

        What lies before `start` is tokenized again, but not run through the model.
        """
        skip = start
        while True:
            for batch in self.corpus.blocks(self.batch_contexts):
                if skip:
                    skip -= 1
                    continue
                found = self.lm.activations(torch.from_numpy(batch.tokens).long(), [self.hook_point])
                yield found[self.hook_point].cpu()[torch.from_numpy(~batch.special)].float()
