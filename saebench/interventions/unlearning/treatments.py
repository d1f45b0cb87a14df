"""Treatments as interventions: a kind, the chosen features, a strength."""

from collections.abc import Sequence
from dataclasses import dataclass

from saebench.interventions.kinds import AnyIntervention, ClampActive, Project, Scale, Zero
from saebench.interventions.unlearning.config import Treatment
from saebench.interventions.where import Often


@dataclass(frozen=True)
class Chosen:
    """The features that are treated.

    Attributes:
        sae: theirs.
        features: numbers, best first.
        units: root mean square activation of each where it fires in the text to forget, in the SAE's units.
        often: share of the tokens of a text on which any must fire for a guarded treatment to act; None
            where there is none.
    """

    sae: str
    features: tuple[int, ...]
    units: tuple[float, ...]
    often: float | None


def interventions(treatment: Treatment, chosen: Chosen, strength: float) -> Sequence[AnyIntervention]:
    """What a treatment does to the features at a strength."""
    sae, features = chosen.sae, chosen.features
    if treatment.kind == "zero":
        return [Zero(sae=sae, feature=features)]
    if treatment.kind == "scale":
        return [Scale(sae=sae, feature=features, factor=1 - strength)]
    if treatment.kind == "project":
        return [Project(sae=sae, feature=features, factor=1 - strength)]
    when = None
    if treatment.kind == "guarded":
        assert chosen.often is not None
        when = Often(feature=features, share=chosen.often)
    above = treatment.above if treatment.kind == "clamp_prime" else 0.0
    return [
        ClampActive(sae=sae, feature=feature, activation=-strength * unit, above=above * unit, when=when)
        for feature, unit in zip(features, chosen.units, strict=True)
    ]
