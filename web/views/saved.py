"""Saved interventions: in words, imported, made from what the steer page adds."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from saebench.errors import UserError
from web.errors import ProblemError
from web.files import checked_id
from web.formats import number, percent, signed
from web.models.interventions import InterventionLine, SavedChange, SavedImport, SavedPage, SavedSteering
from web.views.choice import chosen_index
from web.views.steer import steered_features
from web.views.wishes import read_wishes
from web.workspace import Workspace

if TYPE_CHECKING:
    from saebench.interventions import InterventionSet
    from saebench.interventions.kinds import AnyIntervention
    from saebench.interventions.sets import UsedSAE

NAMED = 8
"""Features of a condition that are named."""


def saved_page(here: Workspace, set_id: str) -> SavedPage:
    """A set of interventions. Raises ProblemError 404."""
    kept = here.interventions.saved(set_id)
    return SavedPage(
        id=set_id,
        notes=kept.notes,
        saes={name: used.id for name, used in kept.saes.items()},
        problems=problems(here.path, kept),
        interventions=[line(one, kept) for one in kept.interventions],
        others=[row.id for row in here.interventions.sets() if row.problem is None and row.id != set_id],
        run=set_id if any(row.id == set_id and row.problem is None for row in here.interventions.runs()) else None,
        kept=kept.model_dump(mode="json"),
    )


def line(one: "AnyIntervention", kept: "InterventionSet") -> InterventionLine:
    """An intervention in words."""
    return InterventionLine(
        kind=one.kind,
        label=one.label,
        does=_does(one),
        sae=kept.saes[one.sae].id,
        features=list(one.features),
        where=_where(one, kept),
    )


def _does(one: "AnyIntervention") -> str:
    match one.kind:
        case "add":
            return f"adds {signed(one.activation)}"
        case "scale":
            return f"multiplies by {_plain(one.factor)}"
        case "clamp":
            return f"sets to {_plain(one.activation)} at every token"
        case "clamp_active":
            return f"sets to {_plain(one.activation)} where it is above {number(one.above)}"
        case "zero":
            return "sets to 0"
        case "cap":
            return f"lets be at most {_plain(one.activation)}"
        case "project":
            return "projects out" if one.factor == 0 else f"multiplies the projection by {_plain(one.factor)}"
        case "cap_projection":
            return f"lets the projection be at most {_plain(one.activation)}"


def _where(one: "AnyIntervention", kept: "InterventionSet") -> str:
    said = []
    if one.tokens.start or one.tokens.stop is not None:
        stop = "" if one.tokens.stop is None else f" to {one.tokens.stop - 1}"
        said.append(f"at tokens from {one.tokens.start}{stop}")
    if one.tokens.special:
        said.append("special tokens too")
    if one.when is not None:
        sae = "" if one.when.sae is None else f" of {kept.saes[one.when.sae].id}"
        own = one.features if one.when.feature is None else one.when.feature
        features = own if isinstance(own, tuple) else (own,)
        more = f" and {len(features) - NAMED} more" if len(features) > NAMED else ""
        named = ", ".join(map(str, features[:NAMED])) + more
        alone = one.when.feature is None and len(features) == 1
        which = "it fires" if alone else f"any of {named}{sae} fires"
        above = f" above {number(one.when.above)}" if one.when.above else ""
        if one.when.kind == "often":
            said.append(f"in texts where {which}{above} on more than {percent(one.when.share)} of the tokens")
        else:
            said.append(f"where {which}{above}")
    return ", ".join(said)


def _plain(value: float) -> str:
    return number(abs(value)) if value >= 0 else f"−{number(-value)}"


def problems(workspace: Path, kept: "InterventionSet") -> list[str]:
    """Why a set cannot be applied in this workspace, if so: an SAE is gone, changed, elsewhere or of another model."""
    return [said for used in kept.saes.values() if (said := _problem(workspace, kept, used))]


def _problem(workspace: Path, kept: "InterventionSet", used: "UsedSAE") -> str | None:
    from saebench.interventions.opened import unusable
    from web.live.models import trained_on

    try:
        checked_id(used.id)
        if reason := unusable(workspace, used):
            return reason
        model, hook_point = trained_on(workspace / "saes" / used.id)
    except (UserError, ProblemError, OSError) as error:
        return str(error)
    if model["sha256"] != kept.model.get("sha256"):
        return f"SAE {used.id} reads another model than the one they are for"
    if hook_point != used.hook_point:
        return f"SAE {used.id} reads {hook_point}; they want it at {used.hook_point}"
    return None


def usable(here: Workspace, set_id: str) -> "InterventionSet":
    """A set that can be applied now. Raises ProblemError 404, or 422 with the reason where it cannot."""
    kept = here.interventions.saved(set_id)
    for reason in problems(here.path, kept):
        raise ProblemError(422, "They cannot be applied", f"Interventions {set_id!r}: {reason}.")
    return kept


def changed(here: Workspace, set_id: str, how: SavedChange) -> "InterventionSet":
    """Rename a set, or say something else of it. Raises ProblemError 404, 409, 422."""
    update: dict[str, Any] = {}
    if how.id is not None:
        update["id"] = checked_id(how.id.strip())
    if how.notes is not None:
        update["notes"] = written(how.notes)
    return here.interventions.change(set_id, lambda kept: kept.model_copy(update=update))


def imported(here: Workspace, wanted: SavedImport) -> str:
    """Keep a set that comes as text; its id. Raises ProblemError 422 where it is none or of other SAEs, 409."""
    from saebench.interventions import InterventionSet

    try:
        kept = InterventionSet.model_validate(json.loads(written(wanted.text)))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise _no_set(f"{first['msg']}{f' at {place}' if place else ''}") from None
    except (ValueError, RecursionError):
        raise _no_set("the text is not JSON") from None
    kept = kept.model_copy(update={"id": checked_id(wanted.id.strip() or kept.id)})
    written(kept.model_dump_json())
    for reason in problems(here.path, kept):
        raise _no_set(reason)
    here.interventions.keep(kept)
    return kept.id


def saved_steering(here: Workspace, wanted: SavedSteering) -> str:
    """Keep what the steer page adds; its id. Raises ProblemError 404, 409, 422."""
    from saebench.interventions import Add

    index = chosen_index(here, wanted.sae, wanted.corpus)
    features = steered_features(here, index, read_wishes(wanted.features, index["sae_id"]))
    if not features:
        raise ProblemError(422, "Nothing to save", "No feature is given.", "Add one and set its strength.")
    adds = [Add(sae=one.sae, feature=one.feature, activation=one.activation) for one in features]
    made = made_set(here, wanted.id, adds, wanted.notes)
    here.interventions.keep(made)
    return made.id


def made_set(here: Workspace, set_id: str, interventions: "Sequence[AnyIntervention]", notes: str) -> "InterventionSet":
    """A set of interventions whose SAEs go by their ids. Raises ProblemError 404, 422."""
    from saebench.files import file_sha256
    from saebench.interventions import InterventionSet
    from saebench.interventions.sets import UsedSAE
    from web.live.models import trained_on

    set_id = checked_id(set_id.strip())
    names = [one.sae for one in interventions]
    names += [one.when.sae for one in interventions if one.when is not None and one.when.sae is not None]
    saes, models = {}, {}
    for sae in dict.fromkeys(names):
        if not here.trained(sae):
            raise ProblemError(404, "No such SAE", f"This workspace has no weights of SAE {sae!r}.")
        models[sae], hook_point = trained_on(here.path / "saes" / sae)
        weights = here.path / "saes" / sae / "sae.safetensors"
        saes[sae] = UsedSAE(id=sae, sha256=file_sha256(weights), hook_point=hook_point)
    first, *others = models.values()
    if any(model["sha256"] != first["sha256"] for model in others):
        raise ProblemError(422, "They do not fit", "The features are of SAEs that read different models.")
    return InterventionSet(id=set_id, model=first, saes=saes, interventions=tuple(interventions), notes=written(notes))


def _no_set(cause: str) -> ProblemError:
    return ProblemError(422, "That is no set of interventions", f"{cause[:1].upper()}{cause[1:]}.".replace("..", "."))


def written(text: str) -> str:
    """Text as a file can hold it. Raises ProblemError 422 for half a surrogate pair."""
    if re.search("[\ud800-\udfff]", text):
        raise ProblemError(422, "Not text", "The text holds half a surrogate pair, which is no character.")
    return text.replace("\r\n", "\n")
