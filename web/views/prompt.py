"""The strongest features of a text: as a list and as a map of features by tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from store.remarks import Said
from web.errors import ProblemError
from web.figures.frame import Figure
from web.figures.prompt import activity_map
from web.live import LiveCodes
from web.models.prompt import PromptFeature, PromptPage
from web.tokens import Unit, level, readable, units
from web.workspace import Row, Workspace

LISTED = 40
MAPPED = 24


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
    interventions: str | None = None

    @property
    def figure(self) -> Figure:
        """Features by tokens."""
        shown = self.features[:MAPPED]
        tokens = [self.label(i) for i in range(len(self.units))]
        names = [(ranked.feature, ranked.said or " ".join(map(repr, ranked.promoted[:3]))) for ranked in shown]
        values = np.stack([ranked.activations for ranked in shown])
        return activity_map(names, tokens, values, np.array([ranked.maximum for ranked in shown]), self.token)

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
            interventions=self.interventions,
            moved=self.moved,
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
                )
                for ranked in self.features
            ],
        )


def prompt_view(
    here: Workspace, index: Row, text: str, codes: LiveCodes, token: int | None, interventions: str | None = None
) -> PromptView:
    """The strongest features of a text, or of its unit number `token`. Raises ProblemError 404 for no such unit."""
    sae_id, corpus = index["sae_id"], index["corpus_id"]
    merged = units(codes.pieces, [0.0] * len(codes.pieces))
    if token is not None and token >= len(merged):
        cause = f"The text has no token {token}: its tokens are 0 to {len(merged) - 1}."
        raise ProblemError(404, "No such token", cause)
    start, stop = (0, len(codes.pieces)) if token is None else (merged[token].start, merged[token].stop)
    part = codes.part(start, stop)
    found = here.store.strongest(part.offsets, part.latents, part.values, sae_id, corpus)
    rows = found.limit(LISTED).rows()
    n_features = len(np.unique(part.latents[part.values > 0]))
    said = here.store.said(sae_id, [row["feature"] for row in rows])
    features = [_ranked(row, said, start, codes, merged) for row in rows]
    return PromptView(sae_id, corpus, text, codes, token, n_features, merged, features, interventions)


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
