"""A prompt continued twice: by the model as it is, and with features added to what it computes."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from saebench.errors import UserError
from web.live.applied import applied, moved, saes_of
from web.live.models import InUse, Live
from web.live.windows import Window, windows

if TYPE_CHECKING:
    from torch import Tensor

    from saebench.interventions import Generated, InterventionSet

MOST_NEXT = 15


class Steering(NamedTuple):
    """A feature and the activation that is added to it at every token, in the SAE's units."""

    sae: str
    feature: int
    activation: float


@dataclass(frozen=True)
class Continuation:
    """A prompt and what was generated behind it.

    Attributes:
        pieces: source bytes of each token, the prompt's first.
        activations: of the steered features, as the model without steering reads this text.
        moved: by how much saved interventions change each token where they act; None: there are none.
    """

    pieces: list[bytes]
    activations: Float[np.ndarray, "features tokens"]
    moved: Float[np.ndarray, " tokens"] | None = None


class Next(NamedTuple):
    """A token that may follow the prompt, and its probability without and with steering."""

    token: bytes
    before: float
    after: float


@dataclass(frozen=True)
class Steered:
    """A prompt with and without steering.

    Attributes:
        n_prompt: how many of the tokens are the prompt's.
        before: the continuation without.
        after: the continuation with.
        next: the likeliest tokens behind the prompt by the larger of their two probabilities.
        divergence: nats, KL(without ‖ with) of the token behind the prompt.
    """

    n_prompt: int
    before: Continuation
    after: Continuation
    next: list[Next]
    divergence: float


def live_steering(
    live: Live,
    features: Sequence[Steering],
    text: str,
    n_tokens: int,
    temperature: float,
    seed: int,
    kept: "InterventionSet | None" = None,
) -> Steered:
    """Continue a text with and without features added, from the same seed; `kept`: saved interventions happen first.

    Raises:
        UserError: model or SAE cannot be opened or do not fit each other, an unknown feature, a text that does not fit
            the model's context, strengths that overflow.
        BusyError: too many wait for the model.
    """
    import torch

    from saebench.interventions import Add, generate, intervened

    adds = [Add(sae=f.sae, feature=f.feature, activation=f.activation) for f in features]
    with live.using(*dict.fromkeys([*(f.sae for f in features), *saes_of(kept)])) as use, torch.inference_mode():
        prompt = prompt_of(use, text, n_tokens)
        how = (prompt.tokens[0], n_tokens, temperature, seed)
        plain = generate(use.lm, *how)
        with applied(use, kept), intervened(use.lm, adds, use.saes):
            steered = generate(use.lm, *how)
        begin = int(prompt.ordinary[0])

        def written(found: "Generated") -> Continuation:
            tokens = torch.cat([prompt.tokens[0], found.tokens])
            return Continuation(
                [*prompt.pieces, *(use.source.vocabulary[token] for token in found.tokens.tolist())],
                _activations(use, features, tokens, begin),
                moved(use, kept, tokens[None])[begin:] if kept else None,
            )

        before, after = written(plain), written(steered)
        return Steered(len(prompt.pieces), before, after, *_next(use, plain, steered))


def prompt_of(use: InUse, text: str, n_tokens: int) -> Window:
    """A text as one context that leaves room. Raises UserError where it does not fit."""
    prompt, *rest = windows(use, text)
    if rest or prompt.tokens.shape[1] + n_tokens > use.lm.context_length:
        length = sum(len(window.pieces) for window in (prompt, *rest))
        raise UserError(
            f"the text has {length} tokens and {n_tokens} are to follow; the model reads {use.lm.context_length} "
            "at most, one of them to begin with. Shorten the text or ask for fewer"
        )
    return prompt


def _activations(
    use: InUse, features: Sequence[Steering], tokens: "Int[Tensor, ' read']", begin: int
) -> Float[np.ndarray, "features tokens"]:
    """Of every steered feature at every token behind the first `begin`, the model being as it is."""
    import torch

    from saebench.interventions.needed import activations_of

    by_sae: dict[str, list[int]] = defaultdict(list)
    for row, steering in enumerate(features):
        by_sae[steering.sae].append(row)
    found = use.lm.activations(tokens[None], list({use.saes[sae].hook_point for sae in by_sae})) if by_sae else {}
    out = np.zeros((len(features), len(tokens) - begin), np.float32)
    for name, rows in by_sae.items():
        sae, hook_point, _ = use.saes[name]
        numbers = sorted({features[row].feature for row in rows})
        read = activations_of(sae, torch.tensor(numbers, device=use.lm.device))(found[hook_point][0, begin:].float())
        for row in rows:
            out[row] = read[:, numbers.index(features[row].feature)].cpu().numpy()
    return out


def _next(use: InUse, before: "Generated", after: "Generated") -> tuple[list[Next], float]:
    """The likeliest next tokens, and how far apart the two distributions are."""
    from saebench.interventions.comparison import compare_next

    rows, divergence = compare_next(before.logits, after.logits, MOST_NEXT)
    return [Next(use.source.vocabulary[token], *shares) for token, *shares in rows], divergence
