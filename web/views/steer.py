"""Steering: the features chosen, and what the model writes with and without them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from markupsafe import Markup

from store import StoreError
from web.errors import ProblemError
from web.formats import number, percent
from web.live import Continuation, Steered, Steering
from web.markup import continuation_html
from web.models import steer as models
from web.tokens import units
from web.views.examples import existing_feature
from web.views.wishes import Wish
from web.workspace import Row, Workspace

MOST_FOUND = 8


@dataclass(frozen=True)
class SteerView:
    """A prompt, the features added, and both continuations."""

    sae: str
    text: str
    features: list[models.SteeredFeature]
    tokens: int
    temperature: float
    seed: int
    found: Steered
    interventions: str | None = None

    @property
    def words(self) -> tuple[str, str]:
        """What the two are called."""
        return "without", "with" if self.interventions else "steered"

    @property
    def sides(self) -> list[tuple[str, Markup]]:
        """Title and text of both continuations."""
        return list(zip(self.words, map(self._html, (self.found.before, self.found.after)), strict=True))

    @property
    def largest(self) -> float:
        """The largest probability shown."""
        return max(max(row.before, row.after) for row in self.found.next)

    @property
    def unshaded(self) -> list[int]:
        """Dense features among others: they fire nearly everywhere, so that shading by them would hide the others."""
        dense = [feature.feature for feature in self.features if feature.dense]
        return dense if len(dense) < len(self.features) else []

    def _html(self, side: Continuation) -> Markup:
        """The prompt muted, and what follows; both shaded where a steered feature fires by itself, or, with saved
        interventions, where these change what the model holds.
        """
        if side.moved is not None:
            merged = units(side.pieces, np.minimum(side.moved, 1.0).tolist())
            shares = (float(side.moved[unit.start : unit.stop].max()) for unit in merged)
            said = [f"changed by {percent(share)} of its size" for share in shares]
            return continuation_html(merged, said, self.found.n_prompt)
        maxima = np.array([feature.max_activation for feature in self.features])[:, None]
        shaded = [not feature.dense or not self.unshaded for feature in self.features]
        shares = (side.activations / maxima)[shaded].max(0, initial=0.0)
        merged = units(side.pieces, shares.tolist())
        about = [self._about(side.activations[:, unit.start : unit.stop]) for unit in merged]
        return continuation_html(merged, about, self.found.n_prompt)

    def _about(self, activations: Float[np.ndarray, "features tokens"]) -> str:
        """Which of the features fire there, and how strongly."""
        values = zip(self.features, activations.max(1).tolist(), strict=True)
        said = [f"{f.feature}: {number(v)}, {percent(v / f.max_activation)} of its max" for f, v in values if v > 0]
        return "\n".join(said)

    def data(self) -> models.SteerAnswer:
        """All of it as data."""
        return models.SteerAnswer(
            sae=self.sae,
            text=self.text,
            features=self.features,
            interventions=self.interventions,
            tokens=self.tokens,
            temperature=self.temperature,
            seed=self.seed,
            prompt_tokens=self.found.n_prompt,
            without=self._data(self.found.before),
            steered=self._data(self.found.after),
            next=[
                models.NextToken(token=row.token.decode(errors="replace"), without=row.before, steered=row.after)
                for row in self.found.next
            ],
            divergence=self.found.divergence,
        )

    def _data(self, side: Continuation) -> models.Continuation:
        merged = units(side.pieces, [0.0] * len(side.pieces))
        activations = [[float(row[unit.start : unit.stop].max()) for unit in merged] for row in side.activations]
        generated = b"".join(side.pieces[self.found.n_prompt :]).decode(errors="replace")
        moved = [] if side.moved is None else [float(side.moved[unit.start : unit.stop].max()) for unit in merged]
        texts = [unit.text for unit in merged]
        return models.Continuation(generated=generated, tokens=texts, activations=activations, moved=moved)


def steered_features(here: Workspace, index: Row, wishes: list[Wish]) -> list[models.SteeredFeature]:
    """What is known of the features to be added, their strengths in the SAE's units.

    Raises:
        ProblemError: no such SAE, index or feature (404); a feature that never fires has no maximum (422).
    """
    features: list[models.SteeredFeature] = []
    for wish in wishes:
        own = index if wish.sae == index["sae_id"] else here.index(wish.sae, None)
        stored = existing_feature(here, wish.feature, own)
        maximum = stored.stats.max_activation
        if not maximum:
            cause = f"Feature {wish.feature} of {wish.sae} never fires on {own['corpus_id']}: it has no maximum."
            raise ProblemError(422, "No unit of strength", cause, "Choose a feature that is not dead.")
        features.append(
            models.SteeredFeature(
                sae=wish.sae,
                feature=wish.feature,
                said=_called(here, wish.sae, [wish.feature]).get(wish.feature),
                promoted=[token.text for token in stored.logits().promoted[:5]],
                strength=wish.strength,
                max_activation=maximum,
                dense=stored.stats.dense,
                activation=wish.strength * maximum,
            )
        )
    return features


def steerings(features: list[models.SteeredFeature]) -> list[Steering]:
    """The same as the model is given them."""
    return [Steering(f.sae, f.feature, f.activation) for f in features]


def found_features(here: Workspace, index: Row, query: str) -> list[models.Found]:
    """Features of a number, or of whose label or explanation every word of the query is a part; living ones only."""
    sae_id, corpus = index["sae_id"], index["corpus_id"]
    if query.isdecimal():
        known = here.store.features(sae_id, corpus).filter(f"feature = {int(query[:9])} AND NOT dead").rows()
        said: dict[int, Any] = _called(here, sae_id, [row["feature"] for row in known])
    else:
        try:
            known = here.store.search(sae_id, corpus, text=query, where="NOT dead").limit(MOST_FOUND).rows()
        except StoreError:
            known = []
        said = {row["feature"]: row["said"] for row in known}
    return [
        models.Found(feature=row["feature"], said=said.get(row["feature"]), promoted=row["promoted"][:5])
        for row in known
    ]


def _called(here: Workspace, sae_id: str, features: list[int]) -> dict[int, str]:
    """The labels of features, or else their best explanations."""
    return {feature: said.text for feature, said in here.store.said(sae_id, features).items()}
