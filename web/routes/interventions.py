"""Interventions of a workspace: the list, unlearning another topic, and two runs side by side."""

from typing import Annotated

from fastapi import APIRouter, Query, Response, status
from starlette.responses import HTMLResponse

from web.errors import RESPONSES, ProblemError
from web.models.interventions import Documents, InterventionsPage, NewUnlearning, RunsCompared
from web.models.jobs import Job
from web.rendering import page
from web.routes.jobs import Runner
from web.routes.params import Here
from web.urls import urls
from web.views import interventions as views
from web.views.unlearning_pair import runs_compared

router = APIRouter(tags=["interventions"], responses=RESPONSES)
One = Annotated[str | None, Query(max_length=200, description="an unlearning run's id")]
Corpus = Annotated[str, Query(max_length=1000, description="a corpus with named documents")]
Topics = Annotated[str, Query(max_length=8000, description="a topic on each line: NAME=PATTERN,… or a module's NAME")]


@router.get("/interventions.json")
def interventions_json(here: Here) -> InterventionsPage:
    """Unlearning runs and saved interventions of the workspace, as data."""
    return views.interventions_page(here)


@router.get("/interventions", response_class=HTMLResponse)
def interventions(here: Here) -> HTMLResponse:
    """Unlearning runs and saved interventions of the workspace, and a form to unlearn another topic."""
    return page("interventions.html", page=views.interventions_page(here), here=urls.interventions())


@router.get("/interventions/form", response_class=HTMLResponse, include_in_schema=False)
def form(here: Here) -> HTMLResponse:
    """The form, a part of the page: what it is filled with takes a moment the first time."""
    data = views.interventions_page(here)
    return page("interventions_form.html", page=data, corpora=views.corpora(here), **views.defaults())


@router.post("/interventions", status_code=status.HTTP_202_ACCEPTED, responses={409: RESPONSES[422]})
def unlearn(here: Here, jobs: Runner, body: NewUnlearning, response: Response) -> Job:
    """Unlearn topics in the background; the address of the job is in `Location`."""
    job = views.start(here, jobs, body)
    response.headers["Location"] = urls.job(job.id)
    return job


@router.get("/interventions/documents.json")
def documents_json(here: Here, topics: Topics, corpus: Corpus = "stdlib-train") -> list[Documents]:
    """The documents that topics match, as data."""
    return views.documents(here, corpus, topics)


@router.get("/interventions/documents", response_class=HTMLResponse, include_in_schema=False)
def documents(here: Here, topics: Topics = "", corpus: Corpus = "stdlib-train") -> HTMLResponse:
    """The same as a part of the form."""
    try:
        found = views.documents(here, corpus, topics)
    except ProblemError as error:  # the page shows it beside the form, so that it is an answer
        return page("interventions_documents.html", found=[], problem=error.problem)
    return page("interventions_documents.html", found=found, problem=None)


@router.get("/interventions/compare.json")
def compare_json(here: Here, a: One = None, b: One = None) -> RunsCompared:
    """Two unlearning runs side by side, as data."""
    return runs_compared(here, a, b)[0]


@router.get("/interventions/compare", response_class=HTMLResponse)
def compare(here: Here, a: One = None, b: One = None) -> HTMLResponse:
    """Two unlearning runs side by side."""
    data, figures, legend = runs_compared(here, a, b)
    return page("unlearning_compare.html", page=data, figures=figures, legend=legend)
