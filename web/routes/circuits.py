"""The circuits of a workspace: the list, looking for another, and two side by side."""

from typing import Annotated

from fastapi import APIRouter, Query, Response, status
from starlette.responses import HTMLResponse

from web.errors import RESPONSES
from web.models.circuits import CircuitComparePage, CircuitsPage, NewCircuit, Show
from web.models.jobs import Job
from web.rendering import page
from web.routes.jobs import Runner, start
from web.routes.params import Here
from web.urls import urls
from web.views import circuits as views
from web.views.circuit import node_name, site_name
from web.views.circuit_pair import SHOWN, circuit_pair

router = APIRouter(tags=["circuits"], responses=RESPONSES)
One = Annotated[str | None, Query(max_length=200, description="a circuit's id")]
Which = Annotated[Show, Query(description="what is listed: of both, of the first alone, of the second alone")]
PageNumber = Annotated[int, Query(alias="page", ge=1, le=1_000_000)]


@router.get("/circuits.json")
def circuits_json(here: Here) -> CircuitsPage:
    """The circuits of the workspace, as data."""
    return views.circuits_page(here)


@router.get("/circuits", response_class=HTMLResponse)
def circuits(
    here: Here, task: Annotated[str, Query(max_length=120, description="chosen in the form")] = ""
) -> HTMLResponse:
    """The circuits of the workspace, and a form to find another."""
    return page("circuits.html", page=views.circuits_page(here), task=task, here=urls.circuits())


@router.post("/circuits", status_code=status.HTTP_202_ACCEPTED, responses={409: RESPONSES[422]})
def find_circuit(here: Here, jobs: Runner, body: NewCircuit, response: Response) -> Job:
    """Find a circuit in the background; the address of the job is in `Location`."""
    job = start(jobs, "circuit", **views.about(here, body))
    response.headers["Location"] = urls.job(job.id)
    return job


@router.get("/circuits/compare.json")
def compare_json(
    here: Here, a: One = None, b: One = None, show: Which = "shared", number: PageNumber = 1
) -> CircuitComparePage:
    """What two circuits share, as data."""
    return circuit_pair(here, a, b, show, number)


@router.get("/circuits/compare", response_class=HTMLResponse)
def compare(here: Here, a: One = None, b: One = None, show: Which = "shared", number: PageNumber = 1) -> HTMLResponse:
    """What two circuits share."""
    data = circuit_pair(here, a, b, show, number)
    return page("circuit_compare.html", page=data, shown=SHOWN, site_name=site_name, node_name=node_name)
