"""The list of SAEs."""

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from web.models.home import HomePage
from web.rendering import page
from web.routes.params import Here
from web.urls import urls
from web.views.home import home_page

router = APIRouter(tags=["workspace"])


@router.get("/", response_class=HTMLResponse)
def home(here: Here) -> HTMLResponse:
    """SAEs, indexes, harvests and corpora of the workspace."""
    return page("home.html", page=home_page(here), here=urls.home())


@router.get("/home.json")
def home_json(here: Here) -> HomePage:
    """SAEs, indexes, harvests and corpora of the workspace, as data."""
    return home_page(here)
