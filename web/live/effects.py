"""What removing one feature from the model does to its predictions on a text.

One pass reads the feature's hook point and the model's own predictions, a second one has the feature removed
(x' = x − f W_dec[feature] at every token of the text, all else as it was). Before the first token on which it fires
nothing changes, so a context without it needs no second pass.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from web.live.models import InUse, Live
from web.live.windows import Window, windows

if TYPE_CHECKING:
    from torch import Tensor

MOST_SHIFTS = 5
SMALLEST_SHIFT = 1e-4


class Shift(NamedTuple):
    """A possible next token: its probability before and after, and by how much its logit changes."""

    token: bytes
    before: float
    after: float
    logit: float


@dataclass(frozen=True)
class Effects:
    """A feature on a text of T tokens.

    Attributes:
        pieces: source bytes of each token.
        activations: of the feature.
        losses: nats, of predicting the token that follows; NaN where none does (the text or the context ends).
        changes: by how much removing the feature changes them.
        falls: at each token, the next tokens whose probability falls most, furthest first.
        rises: the same for those that rise.
    """

    pieces: list[bytes] = field(default_factory=list)
    activations: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    changes: list[float] = field(default_factory=list)
    falls: list[list[Shift]] = field(default_factory=list)
    rises: list[list[Shift]] = field(default_factory=list)


def live_effects(live: Live, sae_id: str, feature: int, text: str) -> Effects:
    """Activations of a feature on a text and the effect of removing it.

    Raises:
        UserError: model or SAE cannot be opened, or the SAE has no such feature.
        BusyError: too many wait for the model.
    """
    import torch

    from saebench.interventions import Zero, intervened
    from saebench.interventions.apply import check
    from saebench.interventions.needed import activations_of

    out, zero = Effects(), Zero(sae=sae_id, feature=feature)
    with live.using(sae_id) as use, torch.inference_mode():
        sae, hook_point, _ = use.saes[sae_id]
        check([zero], use.saes)
        activations = activations_of(sae, torch.tensor([feature], device=use.lm.device))
        for window in windows(use, text):
            logits, found, _ = use.lm.run(window.tokens, [hook_point])
            fires = activations(found[hook_point][0][window.ordinary].float())[:, 0]
            after = logits
            if bool((fires > 0).any()):
                with intervened(use.lm, [zero], use.saes):
                    after = use.lm.run(window.tokens)[0]
            out.activations.extend(fires.tolist())
            _compare(out, use, window, logits[0], after[0])
    return out


def _compare(
    out: Effects,
    use: InUse,
    window: Window,
    before: "Float[Tensor, 'read vocab']",
    after: "Float[Tensor, 'read vocab']",
) -> None:
    """Add what a window's predictions were and have become."""
    import torch

    logs, logs_after = (torch.log_softmax(logits[window.ordinary], -1) for logits in (before, after))
    following = window.tokens[0, window.ordinary[1:]].to(logs.device)[:, None]
    losses, losses_after = (-each[:-1].gather(1, following)[:, 0] for each in (logs, logs_after))
    out.pieces.extend(window.pieces)
    out.losses.extend([*losses.tolist(), np.nan])
    out.changes.extend([*(losses_after - losses).tolist(), np.nan])
    share, share_after = logs.exp(), logs_after.exp()
    moved = share_after - share
    for side, sign in ((out.falls, -1), (out.rises, 1)):
        most = (sign * moved).topk(min(MOST_SHIFTS, moved.shape[1]), -1)
        numbers = [
            most.indices,
            most.values,
            *(each.gather(1, most.indices) for each in (share, share_after, (after - before)[window.ordinary])),
        ]
        for ids, shifts, *values in zip(*(each.tolist() for each in numbers), strict=True):
            rows = zip(ids, shifts, *values, strict=True)
            side.append([Shift(use.source.vocabulary[i], *of) for i, shift, *of in rows if shift >= SMALLEST_SHIFT])
