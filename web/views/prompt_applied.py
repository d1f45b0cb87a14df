"""What saved interventions do to the features of the SAE that the prompt page shows."""

from typing import TYPE_CHECKING

from web.live import LiveCodes
from web.views.prompt import Applied
from web.views.saved import line

if TYPE_CHECKING:
    from saebench.interventions import InterventionSet


def applied_of(kept: "InterventionSet", sae: str, plain: LiveCodes) -> Applied:
    """Interventions as the prompt page shows them; `plain`: the codes of the text without them."""
    done: dict[int, list[str]] = {}
    elsewhere: dict[str, None] = {}
    for one in kept.interventions:
        said = line(one, kept)
        if said.sae != sae:
            elsewhere[said.sae] = None
            continue
        for feature in said.features:
            done.setdefault(feature, []).append(f"{said.label}: {said.does}" + (f", {said.where}" * bool(said.where)))
    return Applied(kept.id, {feature: "; ".join(own) for feature, own in done.items()}, list(elsewhere), plain)
