"""A prompt continued by the model as it is, and under each of two sets of interventions."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from web.live.applied import applied, moved, saes_of
from web.live.models import Live
from web.live.steering import MOST_NEXT, prompt_of

if TYPE_CHECKING:
    from saebench.interventions import InterventionSet


class Written(NamedTuple):
    """A prompt and what was generated behind it: source bytes of each token, and by how much each was changed where the
    interventions act (None: there are none).
    """

    pieces: list[bytes]
    moved: Float[np.ndarray, " tokens"] | None


@dataclass(frozen=True)
class Versus:
    """A prompt under nothing, under one set and under another; everything is in this order.

    Attributes:
        n_prompt: how many of the tokens are the prompt's.
        written: the continuations.
        next: the likeliest tokens behind the prompt by the largest of their probabilities, and these.
        divergences: nats, KL(under nothing ‖ under the set) of the token behind the prompt, of both sets.
    """

    n_prompt: int
    written: list[Written]
    next: list[tuple[bytes, list[float]]]
    divergences: list[float]


def live_versus(
    live: Live, a: "InterventionSet", b: "InterventionSet", text: str, n_tokens: int, temperature: float, seed: int
) -> Versus:
    """Continue a text three times from the same seed.

    Raises:
        UserError: model or SAE cannot be opened or do not fit each other, a text that does not fit the model's context,
            strengths that overflow.
        BusyError: too many wait for the model.
    """
    import torch

    from saebench.interventions import generate
    from saebench.interventions.comparison import divergence, likeliest

    with live.using(*dict.fromkeys([*saes_of(a), *saes_of(b)])) as use, torch.inference_mode():
        prompt = prompt_of(use, text, n_tokens)
        begin = int(prompt.ordinary[0])
        written, logits = [], []
        for kept in (None, a, b):
            with applied(use, kept):
                found = generate(use.lm, prompt.tokens[0], n_tokens, temperature, seed)
            tokens = torch.cat([prompt.tokens[0], found.tokens])
            pieces = [*prompt.pieces, *(use.source.vocabulary[token] for token in found.tokens.tolist())]
            written.append(Written(pieces, moved(use, kept, tokens[None])[begin:] if kept else None))
            logits.append(found.logits)
        rows = [(use.source.vocabulary[token], shares) for token, shares in likeliest(logits, MOST_NEXT)]
        return Versus(len(prompt.pieces), written, rows, [divergence(logits[0], other) for other in logits[1:]])
