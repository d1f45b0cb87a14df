"""What people say of a feature: its label, notes and lists. Each change answers with what is said now."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from store import Annotations
from web.errors import RESPONSES, ProblemError, refusals
from web.models.annotations import LabelText, ListName, NoteText
from web.models.features import Remarks
from web.rendering import json_answer
from web.routes.params import Feature, Here, SaeId
from web.views.examples import existing_feature
from web.views.feature import remarks_data
from web.workspace import Workspace

router = APIRouter(tags=["annotations"], responses=RESPONSES)
Number = Annotated[
    int, Path(ge=0, le=2**31 - 1, description="a note's place among the feature's, oldest first, from 0")
]
Said = Annotated[str | None, Query(max_length=10_000, description="the note's text, so that no other is removed")]


@router.get("/saes/{sae_id}/features/{feature}/remarks.json", response_model=Remarks)
def remarks(here: Here, sae_id: SaeId, feature: Feature) -> Response:
    """What is said of a feature: label, explanations, notes, lists."""
    _check(here, sae_id, feature)
    return _now(here, sae_id, feature)


@router.post("/saes/{sae_id}/features/{feature}/lists", response_model=Remarks)
def add_to_list(here: Here, sae_id: SaeId, feature: Feature, body: ListName) -> Response:
    """Put a feature at the end of a list, which is made if there is none of that name."""
    _check(here, sae_id, feature)
    with refusals("That cannot be kept"):
        here.store.add_to_list(body.name, sae_id, feature)
    return _now(here, sae_id, feature)


@router.put("/saes/{sae_id}/features/{feature}/label", response_model=Remarks)
def set_label(here: Here, sae_id: SaeId, feature: Feature, body: LabelText) -> Response:
    """Name a feature, in place of the name it has."""
    _check(here, sae_id, feature)
    with refusals("That cannot be kept"):
        here.store.label(sae_id, feature, body.text)
    return _now(here, sae_id, feature)


@router.delete("/saes/{sae_id}/features/{feature}/label", response_model=Remarks)
def remove_label(here: Here, sae_id: SaeId, feature: Feature) -> Response:
    """Take a feature's label away."""
    _check(here, sae_id, feature)
    Annotations(here.path).remove_label(sae_id, feature)
    return _now(here, sae_id, feature)


@router.post("/saes/{sae_id}/features/{feature}/notes", response_model=Remarks)
def add_note(here: Here, sae_id: SaeId, feature: Feature, body: NoteText) -> Response:
    """Add a note on a feature."""
    _check(here, sae_id, feature)
    with refusals("That cannot be kept"):
        here.store.note(sae_id, feature, body.text)
    return _now(here, sae_id, feature)


@router.delete("/saes/{sae_id}/features/{feature}/notes/{number}", response_model=Remarks)
def remove_note(here: Here, sae_id: SaeId, feature: Feature, number: Number, text: Said = None) -> Response:
    """Take one note away."""
    _check(here, sae_id, feature)
    notes = here.store.remarks(sae_id, feature).notes
    if number >= len(notes) or text not in (None, notes[number].text):
        cause = f"Feature {feature} has no such note {number}; somebody may have removed one."
        raise ProblemError(404, "No such note", cause, "Load the page again.")
    Annotations(here.path).remove_note(notes[number])
    return _now(here, sae_id, feature)


def _check(here: Workspace, sae_id: str, feature: int) -> None:
    existing_feature(here, feature, here.index(sae_id, None))


def _now(here: Workspace, sae_id: str, feature: int) -> Response:
    return json_answer(remarks_data(here.store.remarks(sae_id, feature)))
