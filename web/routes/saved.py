"""Saved interventions: a set's page, renaming, exporting, importing."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response, status
from pydantic import BaseModel
from starlette.responses import HTMLResponse

from web.errors import RESPONSES
from web.models.interventions import SavedChange, SavedImport, SavedPage, SavedSteering
from web.rendering import json_answer, page
from web.routes.params import Here
from web.urls import urls
from web.views import saved as views

router = APIRouter(tags=["interventions"], responses=RESPONSES)
SetId = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$", description="a set of interventions")]
CONFLICT: dict[int | str, dict[str, Any]] = {409: RESPONSES[422]}


class Saved(BaseModel):
    """A set that is kept now."""

    id: str


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


@router.post("/interventions/sets/steering", status_code=status.HTTP_201_CREATED, responses=CONFLICT)
def save_steering(here: Here, body: SavedSteering, response: Response) -> Saved:
    """Keep features added with strengths, as the steer page has them; the set's address is in `Location`."""
    return _saved(views.saved_steering(here, body), response)


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
