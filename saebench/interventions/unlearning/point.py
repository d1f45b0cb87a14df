"""A point of a run's curves as the interventions that it was measured with, made again without the model."""

from collections.abc import Sequence

from saebench.errors import UserError
from saebench.interventions.kinds import AnyIntervention
from saebench.interventions.unlearning.result import UnlearningResult
from saebench.interventions.unlearning.treatments import Chosen, interventions


def interventions_at(result: UnlearningResult, treatment: str, strength: float) -> Sequence[AnyIntervention]:
    """What a treatment of a run did to its features at one of its strengths.

    Args:
        result: the run.
        treatment: kind of one of its treatments.
        strength: one of that one's.

    Raises:
        UserError: there is no such point, or the run is from before what a guarded treatment needs was kept.
    """
    how = next((one for one in result.config.treatments if one.kind == treatment), None)
    if how is None or strength not in how.strengths:
        raise UserError(f"run {result.id} has no treatment {treatment!r} of strength {strength:g}")
    often = share_of(result)
    if treatment == "guarded" and often is None:
        raise UserError(f"run {result.id} is from before the share of its guard was kept; run it again")
    features = tuple(one.feature for one in result.candidates)
    return interventions(how, Chosen(result.sae, features, result.units, often), strength)


def share_of(result: UnlearningResult) -> float | None:
    """The share of a text's tokens on which features must fire for a guarded treatment; None where it is not known."""
    if result.often is not None or result.picked.treatment != "guarded":
        return result.often
    when = result.picked.interventions[0].when
    return when.share if when is not None and when.kind == "often" else None
