"""The features that a run treats, and the evidence for them."""

from collections.abc import Callable, Mapping

import numpy as np

from saebench.errors import UserError
from saebench.interventions.apply import Hooked
from saebench.interventions.choosing import (
    Candidate,
    by_attribution,
    by_frequency,
    by_squares,
    excerpts,
    from_list,
    random_like,
)
from saebench.interventions.choosing.candidates import check_features
from saebench.interventions.choosing.guard import retained_share
from saebench.interventions.kinds import ClampActive
from saebench.interventions.unlearning.config import UnlearnConfig
from saebench.interventions.unlearning.material import Material
from saebench.interventions.unlearning.treatments import Chosen
from saebench.lm import LanguageModel
from saebench.tracking import Track
from store import FeatureStore, Firings

CLAMPED = 4.0
"""Units below zero to which attribution clamps each feature that it tries."""


def candidates(
    lm: LanguageModel,
    saes: Mapping[str, Hooked],
    sae: str,
    material: Material,
    firings: tuple[Firings, Firings],
    config: UnlearnConfig,
    store: Callable[[], FeatureStore],
    track: Track,
) -> list[Candidate]:
    """The features to treat, best first, as `config.choose` says.

    Args:
        lm: the model.
        saes: by the names that interventions use.
        sae: which of them to choose from.
        material: questions and texts to choose by.
        firings: on the text to forget, and on that to retain.
        config: the run's.
        store: opens the workspace's feature store, where a list is asked for.
        track: is told how far it is.

    Raises:
        UserError: nothing can be chosen.
    """
    how = config.choose
    forget, retain = firings
    if how.method == "frequency":
        found = by_frequency(sae, forget, retain, how.n, how.retain_below)
    elif how.method == "squares":
        found = by_squares(sae, forget, retain, how.n, how.percentile)
    elif how.method == "list":
        with store() as opened:
            found = listed(opened, str(how.list), sae, saes[sae].sae.n_latents)[: how.n]
    else:
        units = units_of(forget)

        def clamp(name: str, feature: int) -> ClampActive:
            return ClampActive(sae=name, feature=feature, activation=-CLAMPED * float(units[feature]))

        found = by_attribution(
            lm, saes, sae, material.forget_questions, material.retain_questions, material.retain_text[:2], clamp,
            top=how.tried_per_question, track=track,
        )[: how.n]  # fmt: skip
    if not found:
        raise UserError(f"no feature of {sae} fits method {how.method}; choose another method or looser bounds")
    known = [one for one in found if forget.counts[one.feature]]
    if not known:
        raise UserError(f"none of the chosen features of {sae} fires on the text to forget; choose others")
    with track("excerpts", sum(map(len, material.forget_text))) as done:
        features = [one.feature for one in known]
        shown = excerpts(lm, saes[sae], features, material.forget_text, material.forget_documents, on_progress=done)
    return [
        one.model_copy(
            update={
                "forget_density": float(forget.densities[one.feature]),
                "retain_density": float(retain.densities[one.feature]),
                "excerpts": tuple(own),
            }
        )
        for one, own in zip(known, shown, strict=True)
    ]


def listed(store: FeatureStore, name: str, sae: str, n_latents: int) -> list[Candidate]:
    """The features of an SAE on a list of the workspace.

    Raises:
        UserError: there is no such list, none of its features is of the SAE, or one is beyond its latents.
    """
    found = [one for one in from_list(store, name) if one.sae == sae]
    if not found:
        raise UserError(f"list {name!r} has no feature of {sae}; add some, or choose another list")
    check_features([one.feature for one in found], n_latents)
    return found


def chosen(
    lm: LanguageModel,
    hooked: Hooked,
    found: list[Candidate],
    forget: Firings,
    material: Material,
    percentile: float | None,
) -> Chosen:
    """Candidates as what treatments want.

    Args:
        lm: the model.
        hooked: the SAE.
        found: the candidates, of this SAE.
        forget: firings on the text to forget, for the units.
        material: its retained text says how often the features fire without cause.
        percentile: of the retained texts, that are to stay untouched by a guarded treatment; None without one, since
            to find the share takes a pass over them.
    """
    features = tuple(one.feature for one in found)
    units = units_of(forget)
    often = None if percentile is None else retained_share(lm, hooked, features, material.retain_text, percentile)
    return Chosen(found[0].sae, features, tuple(float(units[feature]) for feature in features), often)


def at_random(found: list[Candidate], firings: tuple[Firings, Firings], seed: int) -> list[Candidate]:
    """As many features that fire as often, for comparison; only such as fire on the text to forget."""
    forget, retain = firings
    densities = (forget.counts + retain.counts) / max(forget.n_tokens + retain.n_tokens, 1)
    densities = np.where(forget.counts > 0, densities, 0.0)
    return random_like(found[0].sae, [one.feature for one in found], densities, seed)


def units_of(firings: Firings) -> np.ndarray:
    """Root mean square activation of each feature over the tokens on which it fires; 1 where it never does."""
    mean = firings.squares / np.maximum(firings.counts, 1)
    return np.where(firings.counts > 0, np.sqrt(mean), 1.0)
