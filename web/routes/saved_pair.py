"""Two saved sets of interventions side by side."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse

from web.errors import RESPONSES, ProblemError
from web.live import live_versus
from web.models.interventions import SetsCompared, Versus
from web.rendering import page
from web.routes.model import MODEL_RESPONSES, MOST_IN_A_LINK, answering, checked_text, live_of
from web.routes.params import Here
from web.routes.steer import EXAMPLE, Seed, Temperature, Text, Tokens
from web.urls import urls
from web.views.saved import usable
from web.views.saved_pair import VersusView, sets_compared
from web.workspace import Workspace

router = APIRouter(tags=["interventions"], responses=RESPONSES)
One = Annotated[str | None, Query(max_length=200, description="a set of interventions")]
Named = Annotated[str, Query(max_length=200, description="a set of interventions")]


@router.get("/interventions/compare/sets.json")
def sets_json(here: Here, a: One = None, b: One = None) -> SetsCompared:
    """Two saved sets side by side, as data."""
    return sets_compared(here, a, b)


@router.get("/interventions/compare/sets", response_class=HTMLResponse)
def sets_page(
    request: Request,
    here: Here,
    a: One = None,
    b: One = None,
    text: Text = "",
    tokens: Tokens = 40,
    temperature: Temperature = 0.0,
    seed: Seed = 0,
) -> HTMLResponse:
    """Two saved sets side by side, and a form that continues a text under both."""
    data = sets_compared(here, a, b)
    settings = {"tokens": tokens, "temperature": temperature, "seed": seed}
    ready = data.sides and text
    return page(
        "saved_compare.html",
        page=data,
        text=text or EXAMPLE,
        settings=settings,
        most=MOST_IN_A_LINK,
        off=request.app.state.live is None,
        result=urls.compare_sets(a, b, "result", text=text, **settings) if ready else None,
    )


def view_of(
    request: Request, here: Workspace, a: str, b: str, text: str, tokens: int, temperature: float, seed: int
) -> VersusView:
    """Three continuations. Raises ProblemError for what cannot be read or computed."""
    text = checked_text(text, MOST_IN_A_LINK)
    first, second = usable(here, a), usable(here, b)
    live = live_of(request)
    with answering():
        found = live_versus(live, first, second, text, tokens, temperature, seed)
    return VersusView(a, b, text, tokens, temperature, seed, found)


@router.get("/interventions/compare/sets/result.json", responses=MODEL_RESPONSES)
def versus_json(
    request: Request,
    here: Here,
    a: Named,
    b: Named,
    text: Text,
    tokens: Tokens = 40,
    temperature: Temperature = 0.0,
    seed: Seed = 0,
) -> Versus:
    """What the model writes behind a text, and under each of two sets, as data."""
    return view_of(request, here, a, b, text, tokens, temperature, seed).data()


@router.get("/interventions/compare/sets/result", response_class=HTMLResponse, include_in_schema=False)
def versus(
    request: Request,
    here: Here,
    a: Named,
    b: Named,
    text: Text = "",
    tokens: Tokens = 40,
    temperature: Temperature = 0.0,
    seed: Seed = 0,
) -> HTMLResponse:
    """The same as a part of the page."""
    try:
        view = view_of(request, here, a, b, text, tokens, temperature, seed)
    except ProblemError as error:
        return page("problem.html", error.problem.status, error=error.problem)
    return page("saved_versus.html", view=view)
