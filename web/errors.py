"""Errors as pages (or JSON, where JSON was asked for): what went wrong, and what to do about it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from saebench.errors import UserError
from store import StoreError
from web.middleware.headers import POLICY
from web.navigation import list_of
from web.rendering import page

log = logging.getLogger(__name__)


class Problem(BaseModel):
    """What every error answers, as JSON or on a page."""

    status: int
    title: str
    cause: str
    remedy: str = ""


class ProblemError(Exception):
    """Raise it anywhere in a request to answer with a problem; `place` is where its page leads, (title, address)."""

    def __init__(
        self, status: int, title: str, cause: str, remedy: str = "", place: tuple[str, str] | None = None
    ) -> None:
        super().__init__(cause)
        self.place = place
        self.problem = Problem(status=status, title=title, cause=cause, remedy=remedy)


@contextmanager
def refusals(title: str) -> Iterator[None]:
    """What the store does not accept becomes a problem of the request (422)."""
    try:
        yield
    except StoreError as error:
        raise ProblemError(422, title, f"{str(error)[:1].upper()}{str(error)[1:]}.") from None


RESPONSES: dict[int | str, dict] = {
    404: {"model": Problem, "description": "No such SAE, feature or index"},
    422: {"model": Problem, "description": "A parameter cannot be read"},
}
"""For the OpenAPI description of every route."""


def answer(request: Request, problem: Problem, place: tuple[str, str] | None = None) -> Response:
    """The problem in the form the request wants: JSON for `.json`, `.csv` and for posts, a page otherwise."""
    wants_json = request.url.path.endswith((".json", ".csv", ".parquet")) or request.method not in {"GET", "HEAD"}
    if wants_json or "text/html" not in request.headers.get("accept", "text/html,*/*").replace("*/*", "text/html"):
        return JSONResponse(problem.model_dump(), problem.status)
    template = "token.html" if problem.status == 401 else "error.html"
    return page(template, problem.status, error=problem, place=place or list_of(request.url.path))


def install(app: FastAPI) -> None:
    """Give the app a handler for each kind of error."""

    @app.exception_handler(ProblemError)
    def on_problem(request: Request, error: ProblemError) -> Response:
        return answer(request, error.problem, error.place)

    @app.exception_handler(HTTPException)
    def on_http(request: Request, error: HTTPException) -> Response:
        title = "No such page" if error.status_code == 404 else HTTPStatus(error.status_code).phrase
        cause = f"There is nothing at {request.url.path}." if error.status_code == 404 else str(error.detail)
        remedy = "Check the address." if error.status_code == 404 else ""
        return answer(request, Problem(status=error.status_code, title=title, cause=cause, remedy=remedy))

    @app.exception_handler(RequestValidationError)
    def on_validation(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = " ".join(str(part) for part in first["loc"])
        given = "" if first["type"] in {"missing", "json_invalid"} else f", got {str(first.get('input'))[:80]!r}"
        cause = f"{where}: {first['msg'].lower()}{given}."
        return answer(request, Problem(status=422, title="That cannot be read", cause=cause))

    @app.exception_handler(UserError)
    @app.exception_handler(StoreError)
    def on_known(request: Request, error: Exception) -> Response:
        log.warning("%s: %s", request.url.path, error)
        return answer(request, Problem(status=503, title="The workspace cannot answer", cause=str(error)))

    @app.exception_handler(Exception)
    def on_surprise(request: Request, error: Exception) -> Response:
        log.exception("unexpected error at %s", request.url.path, exc_info=error)
        remedy = "The traceback is in the terminal that runs saebench serve; please report it."
        response = answer(
            request, Problem(status=500, title="Something broke", cause=type(error).__name__, remedy=remedy)
        )
        response.headers.update(POLICY)  # made outside of all middleware
        return response
