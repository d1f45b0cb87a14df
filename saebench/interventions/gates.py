"""Where interventions happen, decided pass by pass: which tokens are meant, and which of them a condition lets through.

A gate lives where its features are read and is asked where an intervention waits for it: at the same hook point, or at
a later one of the same pass.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saebench.errors import UserError
from saebench.interventions.kinds import Intervention
from saebench.interventions.where import Condition, Fires, Often, Tokens, as_tuple
from saebench.lm.edit import Pass


class Asked(NamedTuple):
    """A condition, and what it is about also where it leaves that open."""

    sae: str
    features: tuple[int, ...]
    condition: Condition


class Where(NamedTuple):
    """The tokens and the condition of an intervention."""

    tokens: Tokens
    when: Asked | None


def where_of(one: Intervention) -> Where:
    """Where an intervention happens. What its condition leaves open are its own SAE and features."""
    when = one.when
    if when is None:
        return Where(one.tokens, None)
    sae = one.sae if when.sae is None else when.sae
    return Where(one.tokens, Asked(sae, one.features if when.feature is None else as_tuple(when.feature), when))


def asked_of(interventions: Sequence[Intervention]) -> list[Asked]:
    """The conditions of interventions, each once."""
    found = (where_of(one).when for one in interventions)
    return list(dict.fromkeys(asked for asked in found if asked is not None))


@dataclass
class Gate:
    """A condition in one context of interventions.

    Attributes:
        asked: the condition.
        columns: places of its features among those that are read of their SAE.
        ordinary: of every token of the vocabulary, whether it stands for text.
    """

    asked: Asked
    columns: Int[Tensor, " features"]
    ordinary: Bool[Tensor, " vocab"]
    _now: Pass | None = field(default=None, init=False)
    _open: Tensor = field(default_factory=lambda: torch.zeros(0, 0), init=False)
    _counts: tuple[int, Tensor, Tensor] = field(default=(0, torch.zeros(0), torch.zeros(0)), init=False)

    def read(self, activations: Float[Tensor, "rows read"], now: Pass) -> None:
        """Decide for a pass, from the activations that are read of the SAE."""
        fires = (activations.index_select(1, self.columns) > self.asked.condition.above).any(1).view(now.tokens.shape)
        match self.asked.condition:
            case Fires():
                self._open = fires
            case Often(share=share):
                self._open = self._often(fires, share, now)
        self._now = now

    def _often(self, fires: Bool[Tensor, "batch new"], share: float, now: Pass) -> Bool[Tensor, "batch 1"]:
        """Whether each sequence has fired often enough so far; the counts go on from those of the pass before."""
        ordinary = self.ordinary[now.tokens]
        firing, total = (fires & ordinary).sum(1), ordinary.sum(1)
        if now.start:
            length, before, total_before = self._counts
            if length != now.start or len(before) != len(firing):
                raise UserError(
                    f"a sequence goes on behind {now.start} tokens that were not read under these interventions, so "
                    "there is no telling how often the condition's features fired on it; begin it again inside"
                )
            firing, total = firing + before, total + total_before
        self._counts = (now.start + now.tokens.shape[1], firing, total)
        return (firing > share * total)[:, None]

    def open(self, now: Pass) -> Bool[Tensor, "batch _"]:
        """Which tokens (or sequences) of the pass meet the condition. Raises UserError where it is not decided yet."""
        if self._now is not now:
            raise UserError(
                f"an intervention waits for features of SAE {self.asked.sae}, which the model computes only after "
                "it; conditions look at the same hook point or at earlier ones"
            )
        return self._open


def meant(
    where: Where, now: Pass, ordinary: Bool[Tensor, " vocab"], gates: Mapping[Asked, Gate]
) -> Bool[Tensor, "rows 1"]:
    """Which tokens of a pass an intervention happens on."""
    tokens = where.tokens
    mask = torch.ones_like(now.tokens, dtype=torch.bool) if tokens.special else ordinary[now.tokens]
    if tokens.start > now.start or tokens.stop is not None:
        position = now.start + torch.arange(mask.shape[1], device=mask.device)
        stop = torch.inf if tokens.stop is None else tokens.stop
        mask = mask & (position >= tokens.start) & (position < stop)
    if where.when is not None:
        mask = mask & gates[where.when].open(now)
    return mask.reshape(-1, 1)
