"""A point of an unlearning run's curves kept as a set of interventions, whether or not it was picked."""

from typing import TYPE_CHECKING

from saebench.errors import UserError
from saebench.wording import strength_of, treated
from web.errors import ProblemError
from web.models.interventions import KeptPoint
from web.views.saved import made_set
from web.workspace import Workspace

if TYPE_CHECKING:
    from saebench.interventions.unlearning import UnlearningResult


def keepable(run: "UnlearningResult") -> set[str]:
    """The treatments of a run whose interventions can be made again."""
    from saebench.interventions.unlearning.point import share_of

    kinds = {treatment.kind for treatment in run.config.treatments}
    return {str(kind) for kind in kinds if kind != "guarded" or share_of(run) is not None}


def kept_point(here: Workspace, run_id: str, wanted: KeptPoint) -> str:
    """Keep what a treatment did at a strength; the id of the set, which may be there already.

    Raises:
        ProblemError: no such run (404), no such point (422), other weights or another set of the name (409).
    """
    from saebench.interventions.unlearning.point import interventions_at

    run = here.interventions.run(run_id)
    try:
        values = interventions_at(run, wanted.treatment, wanted.strength)
    except UserError as error:
        raise ProblemError(422, "There is no such point", f"{error}.") from None
    said = strength_of(wanted.treatment, wanted.strength).replace("+", "")
    name = wanted.id or ".".join([run.id, wanted.treatment, *([said] if said else [])])
    notes = f"unlearning {', '.join(run.config.forget)}: {treated(wanted.treatment, wanted.strength)}"
    made = made_set(here, name, values, notes)
    if run.provenance.get("sae_sha256", made.saes[run.sae].sha256) != made.saes[run.sae].sha256:
        cause = f"SAE {run.sae} has other weights than when {run.id} was run."
        raise ProblemError(409, "They would be of other features", cause, "Run it again.")
    there = {row.id for row in here.interventions.sets() if row.problem is None}
    if made.id not in there or here.interventions.saved(made.id).interventions != made.interventions:
        here.interventions.keep(made)
    return made.id
