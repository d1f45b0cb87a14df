"""Which tokens of a document a model says itself, reading the document: far fewer passes than asking for each word."""

import random
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool

from saebench.interventions.questions.asking import BATCH_TOKENS, LOGITS_AT_ONCE
from saebench.lm import LanguageModel


@torch.no_grad()
def completed(
    lm: LanguageModel, ids: Sequence[int], before: int, most: int, draw: random.Random
) -> Bool[np.ndarray, " tokens"]:
    """Whether each token of a text is the likeliest behind what stands before it.

    Args:
        lm: the model.
        ids: the text.
        before: tokens of the text that the model has read at least, where there are so many.
        most: about so many tokens are read; of a longer text, windows drawn by `draw`. What is not read is False.
        draw: decides which windows.
    """
    bos = [] if lm.tokenizer.bos_token_id is None else [lm.tokenizer.bos_token_id]
    room = lm.context_length - len(bos)
    step = room - before
    starts = list(range(0, max(1, len(ids) - before), step))
    chosen = sorted(draw.sample(starts, min(len(starts), max(1, most // room))))
    alike: dict[int, list[int]] = defaultdict(list)
    for start in chosen:
        alike[min(room, len(ids) - start)].append(start)
    said = np.zeros(len(ids), bool)
    size = max(1, min(BATCH_TOKENS, LOGITS_AT_ONCE // lm.d_vocab) // lm.context_length)
    for length, own in alike.items():
        for some in (own[i : i + size] for i in range(0, len(own), size)):
            tokens = torch.tensor([[*bos, *ids[start : start + length]] for start in some])
            likeliest = lm.run(tokens)[0].argmax(-1).cpu()
            right = (likeliest[:, :-1] == tokens[:, 1:]).numpy()[:, max(0, len(bos) - 1) :]
            for start, row in zip(some, right, strict=True):
                judged = row[-length:]  # without a begin token, the first token of a window has nothing before it
                begin = before if start else length - len(judged)
                said[start + begin : start + length] = judged[begin - (length - len(judged)) :]
    return said
