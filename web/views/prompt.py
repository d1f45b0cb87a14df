"""The strongest features of a text: as a list and as a map of features by tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from store.remarks import Said
from web.errors import ProblemError
from web.figures.frame import Figure
from web.figures.prompt import MapRow, activity_map, largest_share
from web.live import LiveCodes
from web.models.prompt import PromptFeature, PromptPage
from web.tokens import Unit, level, readable, units
from web.workspace import Row, Workspace

LISTED = 40
MAPPED = 24
SET = 8
"""Features that interventions set, in the map and above it."""


@dataclass(frozen=True)
class Ranked:
    """A feature active in the text, and its activation at every unit of it."""

    feature: int
    said: str | None
    promoted: list[str]
    activation: float
    share: float | None
    maximum: float
    at: int
    n_tokens: int
    activations: Float[np.ndarray, " units"]

    @property
    def called(self) -> str:
        """What is said of it, or what it promotes."""
        return self.said or " ".join(map(repr, self.promoted[:3]))


@dataclass(frozen=True)
class Applied:
    """Saved interventions under which a text is read.

    Attributes:
        id: theirs.
        done: what they do to features of the SAE that is shown, in words.
        elsewhere: other SAEs on which they act.
        plain: the codes of the text without them.
        features: those of the SAE that they are about and that fire in the text without them, strongest first.
    """

    id: str
    done: Mapping[int, str]
    elsewhere: list[str]
    plain: LiveCodes
    features: list[Ranked] = field(default_factory=list)

    def share(self, ranked: Ranked, start: int, stop: int) -> float | None:
        """The largest activation of a feature at some tokens without them, in its own maximum."""
        if ranked.share is None:
            return None
        return float(self.plain.of(ranked.feature)[start:stop].max(initial=0.0)) / ranked.maximum


@dataclass(frozen=True)
class PromptView:
    """A text, its units, and its features, strongest first; `token` is the unit asked about."""

    sae: str
    corpus: str
    text: str
    codes: LiveCodes
    token: int | None
    n_features: int
    units: list[Unit]
    features: list[Ranked] = field(default_factory=list)
    applied: Applied | None = None

    @property
    def rows(self) -> list[MapRow]:
        """Rows of the map: what interventions set, and then the strongest."""
        first = self.applied.features[:SET] if self.applied else []
        shown = [(one, True) for one in first] + [(one, False) for one in self.features[: MAPPED - len(first)]]
        done = self.applied.done if self.applied else {}
        return [
            MapRow(one.feature, one.called, one.activations, one.maximum, one.feature in done, without)
            for one, without in shown
        ]

    @property
    def figure(self) -> Figure:
        """Features by tokens."""
        tokens = [self.label(i) for i in range(len(self.units))]
        return activity_map(self.rows, tokens, self.token, applied=self.applied is not None)

    @property
    def top(self) -> float:
        """The share of its own maximum that the map draws darkest."""
        return largest_share(self.rows) if self.applied else 1.0

    @property
    def without(self) -> list[float | None]:
        """Of each feature, its largest share of its own maximum without the interventions."""
        if self.applied is None:
            return [None] * len(self.features)
        unit = None if self.token is None else self.units[self.token]
        start, stop = (0, len(self.codes.pieces)) if unit is None else (unit.start, unit.stop)
        return [self.applied.share(ranked, start, stop) for ranked in self.features]

    @property
    def moved(self) -> list[float]:
        """By how much interventions change each unit where they act; nothing where there are none."""
        moved = self.codes.moved
        return [] if moved is None else [float(moved[unit.start : unit.stop].max()) for unit in self.units]

    @property
    def shades(self) -> list[int | None]:
        """The same as levels of the highlight, in shares of the largest."""
        return [level(value, max(self.moved)) for value in self.moved] or [None] * len(self.units)

    def label(self, unit: int) -> str:
        """A unit's text in a list."""
        return readable(b"".join(self.codes.pieces[self.units[unit].start : self.units[unit].stop]))

    @property
    def l0(self) -> float:
        """Mean number of active features per token."""
        return len(self.codes.values) / len(self.codes.pieces)

    def data(self) -> PromptPage:
        """All of it as data."""
        return PromptPage(
            sae=self.sae,
            corpus=self.corpus,
            text=self.text,
            tokens=[unit.text for unit in self.units],
            token=self.token,
            n_tokens=len(self.codes.pieces),
            l0=self.l0,
            n_features=self.n_features,
            interventions=self.applied.id if self.applied else None,
            moved=self.moved,
            set=[one.feature for one in self.applied.features] if self.applied else [],
            features=[
                PromptFeature(
                    feature=ranked.feature,
                    said=ranked.said,
                    promoted=ranked.promoted,
                    activation=ranked.activation,
                    share=ranked.share,
                    token=ranked.at,
                    n_tokens=ranked.n_tokens,
                    activations=ranked.activations.tolist(),
                    without=without,
                    set=bool(self.applied and ranked.feature in self.applied.done),
                )
                for ranked, without in zip(self.features, self.without, strict=True)
            ],
        )


def prompt_view(
    here: Workspace, index: Row, text: str, codes: LiveCodes, token: int | None, applied: Applied | None = None
) -> PromptView:
    """The strongest features of a text, or of its unit number `token`; `applied`: the codes are those under
    interventions. Raises ProblemError 404 for no such unit.
    """
    sae_id, corpus = index["sae_id"], index["corpus_id"]
    merged = units(codes.pieces, [0.0] * len(codes.pieces))
    if token is not None and token >= len(merged):
        cause = f"The text has no token {token}: its tokens are 0 to {len(merged) - 1}."
        raise ProblemError(404, "No such token", cause)
    start, stop = (0, len(codes.pieces)) if token is None else (merged[token].start, merged[token].stop)
    part = codes.part(start, stop)
    n_features = len(np.unique(part.latents[part.values > 0]))
    features = _strongest(here, index, codes, (start, stop), merged)
    if applied is not None:
        own = _strongest(here, index, applied.plain, (start, stop), merged, list(applied.done)) if applied.done else []
        applied = replace(applied, features=own)
    return PromptView(sae_id, corpus, text, codes, token, n_features, merged, features, applied)


def _strongest(
    here: Workspace, index: Row, codes: LiveCodes, where: tuple[int, int], merged: Sequence[Unit],
    among: Sequence[int] = (),
) -> list[Ranked]:  # fmt: skip
    """The strongest features of some tokens, or of those among them that are named."""
    part = codes.part(*where)
    found = here.store.strongest(part.offsets, part.latents, part.values, index["sae_id"], index["corpus_id"])
    if among:
        found = found.filter(f"feature IN ({', '.join(map(str, among))})")
    rows = found.limit(LISTED).rows()
    said = here.store.said(index["sae_id"], [row["feature"] for row in rows])
    return [_ranked(row, said, where[0], codes, merged) for row in rows]


def _ranked(row: Row, said: Mapping[int, Said], start: int, codes: LiveCodes, merged: Sequence[Unit]) -> Ranked:
    """One row of `store.strongest`, with all activations of the feature in the text."""
    values = codes.of(row["feature"])
    position = start + row["position"]
    about: dict[str, Any] = {name: row[name] for name in ("feature", "promoted", "activation")}
    return Ranked(
        **about,
        said=said[row["feature"]].text if row["feature"] in said else None,
        share=row["normalised"],
        maximum=row["max_activation"] or float(values.max()),
        n_tokens=int((values > 0).sum()),
        at=next(i for i, unit in enumerate(merged) if unit.start <= position < unit.stop),
        activations=np.array([values[unit.start : unit.stop].max() for unit in merged]),
    )
