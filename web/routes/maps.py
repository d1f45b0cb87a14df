"""The map of an SAE's decoder directions: a part of the SAE's page, and a page of its own."""

from typing import Annotated

from fastapi import APIRouter, Header, status
from starlette.responses import HTMLResponse

from web.errors import RESPONSES
from web.models.jobs import Job
from web.models.maps import MapPage
from web.rendering import page
from web.routes.jobs import Runner, start
from web.routes.params import Corpus, Here, SaeId
from web.views import maps as views

router = APIRouter(tags=["saes"], responses=RESPONSES)


@router.get("/saes/{sae_id}/map.json")
def map_json(here: Here, jobs: Runner, sae_id: SaeId, corpus: Corpus = None) -> MapPage:
    """The map as data, or how far it is with being drawn."""
    return views.map_page(here, jobs, sae_id, corpus)


@router.get("/saes/{sae_id}/map", response_class=HTMLResponse)
def sae_map(
    here: Here,
    jobs: Runner,
    sae_id: SaeId,
    corpus: Corpus = None,
    hx_request: Annotated[str | None, Header()] = None,
) -> HTMLResponse:
    """The map, or how far it is with being drawn; asked by htmx, only the part that the SAE's page holds."""
    template = "map.html" if hx_request is None else "map_part.html"
    data = views.map_frame(here, jobs, sae_id, corpus)
    return page(template, headers={"Vary": "HX-Request"}, page=data)


@router.post("/saes/{sae_id}/map", status_code=status.HTTP_202_ACCEPTED, responses={409: RESPONSES[422]})
def draw_map(here: Here, jobs: Runner, sae_id: SaeId) -> Job:
    """Draw the map in the background."""
    views.check_drawable(here, sae_id)
    return start(jobs, "map", sae=sae_id)
