"""A feature on any text, as the test box shows it."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from markupsafe import Markup

from web.formats import number, percent, signed
from web.live import Effects
from web.live.effects import Shift
from web.markup import effect_units_html
from web.models import live as models
from web.tokens import Unit, level, readable, units

LEAST_SCALE = 0.1
"""Nats: a change of the loss below this is never shown as strong, however small the others are."""


@dataclass(frozen=True)
class LiveView:
    """Effects with tokens merged into characters; `maximum` is the feature's own on its corpus."""

    sae: str
    feature: int
    maximum: float
    effects: Effects

    @cached_property
    def units(self) -> list[Unit]:
        """What is shown as one piece of text each."""
        return units(self.effects.pieces, self.effects.activations)

    @cached_property
    def losses(self) -> list[float | None]:
        """Nats, of predicting what follows the tokens of each unit."""
        return [_total(self.effects.losses[unit.start : unit.stop]) for unit in self.units]

    @cached_property
    def changes(self) -> list[float | None]:
        """By how much removing the feature changes them."""
        return [_total(self.effects.changes[unit.start : unit.stop]) for unit in self.units]

    @property
    def peak(self) -> Unit | None:
        """The unit with the largest activation; None where the feature is silent."""
        strongest = max(self.units, key=lambda unit: unit.activation, default=None)
        return strongest if strongest is not None and strongest.activation > 0 else None

    @property
    def n_active(self) -> int:
        """Tokens on which it fires."""
        return sum(value > 0 for value in self.effects.activations)

    @property
    def loss_change(self) -> float:
        """Nats, summed over the text."""
        return sum(change for change in self.effects.changes if not math.isnan(change))

    @property
    def said(self) -> str:
        """The whole in one sentence."""
        n = len(self.effects.pieces)
        of = f"{n} token{'s' * (n != 1)}"
        if self.peak is None:
            return f"Silent on {of}"
        fires = f"Fires on {self.n_active} of {of}, at most {number(self.peak.activation)}"
        return f"{fires}. Removing it changes the loss of the text by {signed(self.loss_change)} nats"

    @property
    def html(self) -> Markup:
        """The text with both shades: the activation's and that of the loss."""
        largest = max([LEAST_SCALE, *(abs(change) for change in self.changes if change is not None)])
        maximum = self.maximum or (self.peak.activation if self.peak else 1.0)
        shades = [None if change is None else level(abs(change), largest) for change in self.changes]
        negative = [change is not None and change < 0 for change in self.changes]
        return effect_units_html(self.units, maximum, self.peak, shades, negative)

    @property
    def details(self) -> list[dict[str, Any]]:
        """For each unit, what is said of it when it is pointed at."""
        return [
            {
                "token": "".join(readable(piece) for piece in self.effects.pieces[unit.start : unit.stop]),
                "activation": number(unit.activation),
                "loss": None if loss is None else f"{number(loss)} → {number(loss + (change or 0))}",
                "change": None if change is None else signed(change),
                "falls": _rows(self.effects.falls[unit.stop - 1]),
                "rises": _rows(self.effects.rises[unit.stop - 1]),
            }
            for unit, loss, change in zip(self.units, self.losses, self.changes, strict=True)
        ]

    @property
    def start(self) -> int:
        """The unit that is spoken of before one is pointed at: where the feature is strongest."""
        return self.units.index(self.peak) if self.peak else 0

    def data(self) -> models.LiveAnswer:
        """All of it as data."""
        return models.LiveAnswer(
            sae=self.sae,
            feature=self.feature,
            tokens=[unit.text for unit in self.units],
            activations=[unit.activation for unit in self.units],
            losses=self.losses,
            loss_changes=self.changes,
            falls=[_shifts(self.effects.falls[unit.stop - 1]) for unit in self.units],
            rises=[_shifts(self.effects.rises[unit.stop - 1]) for unit in self.units],
            n_tokens=len(self.effects.pieces),
            n_active=self.n_active,
            max_activation=self.peak.activation if self.peak else 0.0,
            loss_change=self.loss_change,
        )


def _total(values: list[float]) -> float | None:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) if known else None


def _rows(shifts: list[Shift]) -> list[list[str]]:
    return [[readable(s.token), percent(s.before), percent(s.after), signed(s.logit)] for s in shifts]


def _shifts(shifts: list[Shift]) -> list[models.Shift]:
    return [models.Shift(token=readable(s.token), before=s.before, after=s.after, logit=s.logit) for s in shifts]
