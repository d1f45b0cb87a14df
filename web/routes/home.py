"""The list of SAEs."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import HTMLResponse

from web.models import HomePage
from web.rendering import page
from web.views.home import home_page
from web.workspace import Workspace, workspace

router = APIRouter(tags=["workspace"])
Here = Annotated[Workspace, Depends(workspace)]


@router.get("/", response_class=HTMLResponse)
def home(here: Here) -> HTMLResponse:
    """SAEs, indexes, harvests and corpora of the workspace."""
    return page("home.html", page=home_page(here))


@router.get("/home.json")
def home_json(here: Here) -> HomePage:
    """SAEs, indexes, harvests and corpora of the workspace, as data."""
    return home_page(here)
