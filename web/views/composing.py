"""Interventions composed by hand: what is typed on the page as a set, and a set as what would be typed."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from saebench.wording import KINDS
from web.errors import ProblemError
from web.models.interventions import ComposedSet, ComposePage, WantedIntervention
from web.views.saved import made_set
from web.workspace import Workspace

if TYPE_CHECKING:
    from saebench.interventions import AnyIntervention, InterventionSet

FACTORS = {"scale", "project"}
"""Kinds whose number is a factor; those of the others are activations, but zero has none."""


def compose_page(here: Workspace, set_id: str | None, sae: str | None, features: str) -> ComposePage:
    """A set to be changed, or a new one of one intervention on some features. Raises ProblemError 404."""
    saes = [row["id"] for row in here.saes() if here.trained(row["id"])]
    page = ComposePage(workspace=str(here.path), id=set_id, notes="", saes=saes, rows=[])
    if set_id is not None:
        kept = here.interventions.saved(set_id)
        return page.model_copy(update={"notes": kept.notes, "rows": [typed(one, kept) for one in kept.interventions]})
    if not saes:
        return page
    first = WantedIntervention(kind="clamp_active", sae=sae if sae in saes else saes[0], features=features, amount=-1)
    return page.model_copy(update={"rows": [first.model_copy(update={"maxima": _indexed(here, first.sae)})]})


def typed(one: "AnyIntervention", kept: "InterventionSet") -> WantedIntervention:
    """An intervention as it would be typed."""
    numbers = {name: getattr(one, name) for name in one.parameters}
    when: dict[str, Any] = {}
    if one.when is not None:
        own = one.when.feature
        features = () if own is None else own if isinstance(own, tuple) else (own,)
        when = {
            "when": one.when.kind,
            "when_sae": "" if one.when.sae is None else kept.saes[one.when.sae].id,
            "when_features": ", ".join(map(str, features)),
            "when_above": one.when.above,
            "share": getattr(one.when, "share", WantedIntervention.model_fields["share"].default),
        }
    return WantedIntervention(
        kind=one.kind, sae=kept.saes[one.sae].id, features=", ".join(map(str, one.features)),
        amount=next((value for name, value in numbers.items() if name != "above"), None),
        above=numbers.get("above", 0.0), start=one.tokens.start, stop=one.tokens.stop, special=one.tokens.special,
        **when,
    )  # fmt: skip


def composed(here: Workspace, wanted: ComposedSet) -> "InterventionSet":
    """What is typed as a set, in its order.

    Raises:
        ProblemError: no such SAE (404); what is no intervention, a feature that is not there, or one without a maximum
            where activations are in maxima (422).
    """
    made: list[AnyIntervention] = []
    for number, one in enumerate(wanted.interventions, 1):
        made += _interventions(here, one, f"intervention {number}, {KINDS[one.kind].label}")
    return made_set(here, wanted.id, made, wanted.notes)


def _interventions(here: Workspace, one: WantedIntervention, where: str) -> "list[AnyIntervention]":
    """One of several features; in maxima, one for each, all of which wait for the same features."""
    from saebench.interventions import AnyIntervention

    sae = one.sae.strip()
    if not any(row["id"] == sae and here.trained(sae) for row in here.saes()):
        raise ProblemError(404, "No such SAE", f"{where[:1].upper()}{where[1:]}: there is no finished SAE {sae!r}.")
    features = _features(here, sae, one.features, where)
    if not features:
        raise _wrong(where, "no feature is given; write for example 12, 33")
    if one.amount is None and one.kind != "zero":
        raise _wrong(where, "no number is given")
    apart = one.maxima and one.kind not in FACTORS | {"zero"}
    own = features if apart and len(features) > 1 else ()
    shared = {"kind": one.kind, "sae": sae, **_tokens(one), **_when(here, one, sae, own, where)}
    groups: list[tuple[Any, float]] = [(features if len(features) > 1 else features[0], 1.0)]
    if apart:
        found = maxima(here, sae, features, where)
        groups = [(feature, found[feature]) for feature in features]
    try:
        return [
            TypeAdapter(AnyIntervention).validate_python({**shared, "feature": which, **_numbers(one, unit)})
            for which, unit in groups
        ]
    except ValidationError as error:
        raise _wrong(where, error.errors()[0]["msg"].removeprefix("Value error, ")) from None


def _numbers(one: WantedIntervention, unit: float) -> dict[str, float]:
    """The numbers of an intervention whose activations are in units of `unit`."""
    if one.kind == "zero" or one.amount is None:
        return {}
    if one.kind in FACTORS:
        return {"factor": one.amount}
    above = {"above": one.above * unit} if one.kind == "clamp_active" else {}
    return {"activation": one.amount * unit, **above}


def _tokens(one: WantedIntervention) -> dict[str, Any]:
    if not one.start and one.stop is None and not one.special:
        return {}
    return {"tokens": {"start": one.start, "stop": one.stop, "special": one.special}}


def _when(here: Workspace, one: WantedIntervention, sae: str, own: tuple[int, ...], where: str) -> dict[str, Any]:
    """The condition; where none of its features are given, on `own`, or, where these are none, on whatever the
    intervention acts on.
    """
    if one.when == "always":
        return {}
    theirs = one.when_sae.strip()
    features = _features(here, theirs or sae, one.when_features, f"{where}, condition")
    if theirs and not features:
        raise _wrong(where, f"the condition names SAE {theirs} and none of its features")
    share = {"share": one.share} if one.when == "often" else {}
    which = {"sae": theirs or None, "feature": features or own or None, "above": one.when_above}
    return {"when": {"kind": one.when, **which, **share}}


def _features(here: Workspace, sae: str, text: str, where: str) -> tuple[int, ...]:
    """Numbers of features of an SAE, each once."""
    parts = [part for part in re.split(r"[,\s]+", text.strip()) if part]
    wrong = next((part for part in parts if not re.fullmatch(r"[0-9]{1,9}", part)), None)
    if wrong is not None:
        raise _wrong(where, f"{wrong[:40]!r} is no feature; write numbers, for example 12, 33")
    features = tuple(dict.fromkeys(map(int, parts)))
    n = n_features(here, sae)
    for feature in features:
        if feature >= n:
            raise _wrong(where, f"{sae} has no feature {feature}; it has 0 to {n - 1:,}")
    return features


def n_features(here: Workspace, sae: str) -> int:
    """How many an SAE has, from beside its weights. Raises ProblemError 422 where it does not say."""
    path = here.path / "saes" / sae / "config.json"
    try:
        return int(json.loads(path.read_bytes())["n_latents"])
    except (OSError, ValueError, KeyError, TypeError):
        raise ProblemError(422, "That SAE cannot be used", f"{path} does not say how many features it has.") from None


def maxima(here: Workspace, sae: str, features: Sequence[int], where: str) -> Mapping[int, float]:
    """Largest activations in the SAE's first index. Raises ProblemError 422 where a feature has none."""
    if not _indexed(here, sae):
        raise _wrong(where, f"{sae} has no index, so there are no maxima; write activations in its own units")
    among = f"feature IN ({', '.join(map(str, features))})"
    rows = here.store.features(sae, here.index(sae, None)["corpus_id"]).filter(among).rows()
    found = {row["feature"]: float(row["max_activation"] or 0) for row in rows}
    for feature in features:
        if not found.get(feature):
            raise _wrong(where, f"feature {feature} never fires in the index, so it has no maximum")
    return found


def _indexed(here: Workspace, sae: str) -> bool:
    return any(row["sae_id"] == sae for row in here.store.indexes())


def _wrong(where: str, cause: str) -> ProblemError:
    return ProblemError(422, "That is no intervention", f"{where[:1].upper()}{where[1:]}: {cause}.")
