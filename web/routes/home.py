"""What the workspace holds, and what is being trained."""

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from web.models.home import HomePage, Runs
from web.rendering import page
from web.routes.params import Here
from web.urls import urls
from web.views.home import home_page
from web.views.runs import runs

router = APIRouter(tags=["workspace"])


@router.get("/", response_class=HTMLResponse)
def home(here: Here) -> HTMLResponse:
    """SAEs, indexes, harvests and corpora of the workspace."""
    return page("home.html", page=home_page(here), here=urls.home())


@router.get("/home.json")
def home_json(here: Here) -> HomePage:
    """SAEs, indexes, harvests and corpora of the workspace, as data."""
    return home_page(here)


@router.get("/runs.json")
def runs_json(here: Here) -> Runs:
    """Trainings that are not finished, as data."""
    return Runs(runs=runs(here))


@router.get("/runs", response_class=HTMLResponse, include_in_schema=False)
def runs_fragment(here: Here) -> HTMLResponse:
    """The same for the home page, which asks again and again."""
    return page("runs.html", runs=runs(here))
