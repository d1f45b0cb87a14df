"""Saved interventions: a set's page, renaming, exporting, importing."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response, status
from starlette.responses import HTMLResponse

from saebench.wording import KINDS
from web.errors import RESPONSES
from web.models.interventions import (
    ComposedSet,
    ComposePage,
    Saved,
    SavedChange,
    SavedImport,
    SavedPage,
    SavedSteering,
)
from web.rendering import json_answer, page
from web.routes.params import Here
from web.urls import urls
from web.views import saved as views
from web.views.composing import compose_page, composed

router = APIRouter(tags=["interventions"], responses=RESPONSES)
SetId = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$", description="a set of interventions")]
OneSet = Annotated[str | None, Query(max_length=200, description="the set that is changed; none: a new one")]
Sae = Annotated[str | None, Query(max_length=200, description="of a new one")]
Features = Annotated[str, Query(max_length=8000, description="of a new one: 12,33")]
CONFLICT: dict[int | str, dict[str, Any]] = {409: RESPONSES[422]}


@router.get("/interventions/sets/{set_id}/file.json", response_model=dict[str, Any])
def set_file(here: Here, set_id: SetId) -> Response:
    """A set as it is kept: what can be imported elsewhere."""
    kept = here.interventions.saved(set_id)
    headers = {"Content-Disposition": f'attachment; filename="{set_id}.json"'}
    return json_answer(kept.model_dump(mode="json"), headers)


@router.get("/interventions/sets/{set_id}.json")
def set_json(here: Here, set_id: SetId) -> SavedPage:
    """A set and what it does in words, as data."""
    return views.saved_page(here, set_id)


@router.get("/interventions/sets/{set_id}", response_class=HTMLResponse)
def set_page(here: Here, set_id: SetId) -> HTMLResponse:
    """A set and what it does in words."""
    return page("saved.html", page=views.saved_page(here, set_id))


@router.post("/interventions/sets", status_code=status.HTTP_201_CREATED, responses=CONFLICT)
def import_set(here: Here, body: SavedImport, response: Response) -> Saved:
    """Keep a set that comes as a file; its address is in `Location`."""
    return _saved(views.imported(here, body), response)


@router.post("/interventions/sets/composed", status_code=status.HTTP_201_CREATED, responses=CONFLICT)
def save_composed(here: Here, body: ComposedSet, response: Response) -> Saved:
    """Keep interventions that somebody composed, in their order; the set's address is in `Location`."""
    made = composed(here, body)
    here.interventions.keep(made)
    return _saved(made.id, response)


@router.post("/interventions/sets/steering", status_code=status.HTTP_201_CREATED, responses=CONFLICT)
def save_steering(here: Here, body: SavedSteering, response: Response) -> Saved:
    """Keep features added with strengths, as the steer page has them; the set's address is in `Location`."""
    return _saved(views.saved_steering(here, body), response)


@router.put("/interventions/sets/{set_id}", responses=CONFLICT)
def replace(here: Here, set_id: SetId, body: ComposedSet, response: Response) -> Saved:
    """Put other interventions in the place of a set's; with another id it moves there."""
    made = composed(here, body)
    return _saved(here.interventions.change(set_id, lambda _: made).id, response)


@router.get("/interventions/compose.json")
def compose_json(here: Here, edit: OneSet = None, sae: Sae = None, features: Features = "") -> ComposePage:
    """A set as it would be typed, or what a new one begins with, as data."""
    return compose_page(here, edit, sae, features)


@router.get("/interventions/compose", response_class=HTMLResponse)
def compose(here: Here, edit: OneSet = None, sae: Sae = None, features: Features = "") -> HTMLResponse:
    """Compose a set of interventions: what is done to which features, in which order, where and when."""
    return page("compose.html", page=compose_page(here, edit, sae, features), kinds=KINDS)


@router.patch("/interventions/sets/{set_id}", responses=CONFLICT)
def change(here: Here, set_id: SetId, body: SavedChange, response: Response) -> Saved:
    """Rename a set, or say something else of it; its address is in `Location`."""
    return _saved(views.changed(here, set_id, body).id, response)


@router.delete("/interventions/sets/{set_id}", status_code=status.HTTP_204_NO_CONTENT)
def delete(here: Here, set_id: SetId) -> None:
    """Take a set away for good."""
    here.interventions.delete_saved(set_id)


def _saved(set_id: str, response: Response) -> Saved:
    response.headers["Location"] = urls.saved(set_id)
    return Saved(id=set_id)
