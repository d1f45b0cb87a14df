"""One unlearning run: its page, the run as it is kept, and the same again with features that somebody chose."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response, status
from starlette.responses import HTMLResponse

from web.errors import RESPONSES
from web.models.interventions import Again, KeptPoint, Saved
from web.models.jobs import Job
from web.rendering import json_answer, page
from web.routes.jobs import Runner
from web.routes.params import Here
from web.urls import urls
from web.views.interventions import again
from web.views.kept_point import kept_point
from web.views.unlearning import run_view
from web.views.unlearning_parts import interval

router = APIRouter(tags=["interventions"], responses=RESPONSES)
RunId = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$", description="an unlearning run's id")]


@router.get("/interventions/{run_id}.json", response_model=dict[str, Any])
def run_json(here: Here, run_id: RunId) -> Response:
    """An unlearning run as it is kept (`saebench.interventions.unlearning.UnlearningResult`)."""
    return json_answer(here.interventions.run(run_id).model_dump(mode="json"))


@router.get("/interventions/{run_id}", response_class=HTMLResponse)
def run_page(here: Here, run_id: RunId) -> HTMLResponse:
    """An unlearning run: what is forgotten, what it costs, what else changes."""
    view = run_view(here, run_id)
    sets = {row.id for row in here.interventions.sets() if row.problem is None}
    others = [row.id for row in here.interventions.runs() if row.problem is None and row.id != run_id]
    return page("unlearning.html", page=view, saved=run_id in sets, others=others, interval=interval)


@router.delete("/interventions/{run_id}", status_code=status.HTTP_204_NO_CONTENT)
def delete(here: Here, run_id: RunId) -> None:
    """Take a run away for good; the interventions that it saved stay."""
    here.interventions.delete_run(run_id)


@router.post("/interventions/{run_id}/again", status_code=status.HTTP_202_ACCEPTED, responses={409: RESPONSES[422]})
def run_again(here: Here, jobs: Runner, run_id: RunId, body: Again, response: Response) -> Job:
    """Run it with features that somebody chose among its candidates; they are put on a list of the workspace."""
    job = again(here, jobs, run_id, body)
    response.headers["Location"] = urls.job(job.id)
    return job


@router.post("/interventions/{run_id}/keep", status_code=status.HTTP_201_CREATED, responses={409: RESPONSES[422]})
def keep(here: Here, run_id: RunId, body: KeptPoint, response: Response) -> Saved:
    """Keep what a treatment did at one strength as a set of interventions; its address is in `Location`."""
    saved = Saved(id=kept_point(here, run_id, body))
    response.headers["Location"] = urls.saved(saved.id)
    return saved
