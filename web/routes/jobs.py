"""Background work: what there is, and how it is going."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, status
from starlette.responses import HTMLResponse, Response

from saebench.errors import UserError
from web.errors import RESPONSES, ProblemError
from web.jobs.runner import JobRunner
from web.models.jobs import Job, JobPage, Jobs
from web.rendering import page
from web.urls import urls

router = APIRouter(tags=["jobs"], responses=RESPONSES)
JobId = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,240}$", description="<kind>.<what it is about>.<number>")]


def runner(request: Request) -> JobRunner:
    """The app's jobs, for FastAPI to inject."""
    return request.app.state.jobs


Runner = Annotated[JobRunner, Depends(runner)]


def start(jobs: JobRunner, kind: str, **about: str) -> Job:
    """Start a job, or find it under way. Raises ProblemError 409 where it cannot be started now."""
    try:
        return jobs.start(kind, **about)
    except UserError as error:
        raise ProblemError(409, "That cannot be started now", f"{error}.") from None


def existing(jobs: JobRunner, job_id: str) -> JobPage:
    """A job that is there. Raises ProblemError 404."""
    found = jobs.find(job_id)
    if found is None:
        raise ProblemError(
            404, "No such job", f"This workspace has no job {job_id!r}.", "The page of jobs has them all."
        )
    return found


@router.get("/jobs.json")
def jobs_json(jobs: Runner) -> Jobs:
    """All jobs, newest first, as data."""
    return Jobs(jobs=jobs.all())


@router.get("/jobs", response_class=HTMLResponse)
def jobs_page(jobs: Runner) -> HTMLResponse:
    """All jobs, newest first."""
    return page("jobs.html", page=Jobs(jobs=jobs.all()), here=urls.jobs())


@router.get("/jobs/{job_id}.json")
def job_json(jobs: Runner, job_id: JobId) -> JobPage:
    """A job, how far it is and what it said, as data."""
    return existing(jobs, job_id)


@router.get("/jobs/{job_id}", response_class=HTMLResponse)
def job_page(jobs: Runner, job_id: JobId) -> HTMLResponse:
    """A job, how far it is and what it said."""
    return page("job.html", page=existing(jobs, job_id))


@router.post("/jobs/{job_id}/cancel", status_code=status.HTTP_202_ACCEPTED)
def cancel(jobs: Runner, job_id: JobId) -> JobPage:
    """End a job that waits or runs; one that has ended stays as it is."""
    jobs.cancel(existing(jobs, job_id).id)
    return existing(jobs, job_id)


@router.post("/jobs/{job_id}/again", status_code=status.HTTP_202_ACCEPTED, responses={409: RESPONSES[422]})
def again(jobs: Runner, job_id: JobId, response: Response) -> Job:
    """Run a job anew; its address is in `Location`. Commands pick up where they stopped."""
    old = existing(jobs, job_id)
    job = start(jobs, old.kind, **old.about)
    response.headers["Location"] = urls.job(job.id)
    return job
