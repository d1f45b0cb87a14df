"""What a model writes with features added to what it computes."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse

from web.errors import RESPONSES, ProblemError
from web.live import live_steering
from web.models.steer import Found, SteerAnswer
from web.rendering import page
from web.routes.model import MODEL_RESPONSES, MOST_IN_A_LINK, answering, checked_text, live_of
from web.routes.params import Corpus, Here, Interventions
from web.routes.prompt import Sae, Text
from web.urls import urls
from web.views.choice import chosen_index, indexed_saes, saved_names
from web.views.saved import usable
from web.views.steer import SteerView, found_features, steered_features, steerings
from web.views.wishes import read_wishes
from web.workspace import Workspace

router = APIRouter(tags=["steer"], responses=RESPONSES)

EXAMPLE = "def load_config(path):\n    "

Features = Annotated[
    str, Query(max_length=4000, description="12:4,33:-2 (feature:strength in its own maxima), other-sae/7:1")
]
Tokens = Annotated[int, Query(ge=1, le=200, description="how many to generate")]
Temperature = Annotated[float, Query(ge=0, le=5, description="0 takes the likeliest token")]
Seed = Annotated[int, Query(ge=0, le=2**31 - 1)]


def view_of(
    request: Request,
    here: Workspace,
    sae: str | None,
    features: str,
    text: str,
    corpus: str | None,
    tokens: int,
    temperature: float,
    seed: int,
    interventions: str | None,
) -> SteerView:
    """Both continuations. Raises ProblemError for what cannot be read or computed."""
    text = checked_text(text, MOST_IN_A_LINK)
    index = chosen_index(here, sae, corpus)
    wishes = read_wishes(features, index["sae_id"])
    if not wishes and not interventions:
        raise ProblemError(422, "Nothing to steer with", "No feature is given.", "Add one and set its strength.")
    kept = usable(here, interventions) if interventions else None
    chosen = steered_features(here, index, wishes)
    live = live_of(request)
    with answering():
        found = live_steering(live, steerings(chosen), text, tokens, temperature, seed, kept)
    return SteerView(index["sae_id"], text, chosen, tokens, temperature, seed, found, interventions or None)


@router.get("/steer.json", responses=MODEL_RESPONSES)
def steer_json(
    request: Request,
    here: Here,
    text: Text,
    features: Features = "",
    sae: Sae = None,
    corpus: Corpus = None,
    tokens: Tokens = 40,
    temperature: Temperature = 0.0,
    seed: Seed = 0,
    interventions: Interventions = None,
) -> SteerAnswer:
    """What the model writes behind a text, with and without features added, as data."""
    return view_of(request, here, sae, features, text, corpus, tokens, temperature, seed, interventions).data()


@router.get("/steer/find.json")
def steer_find(
    here: Here, q: Annotated[str, Query(max_length=200)], sae: Sae = None, corpus: Corpus = None
) -> list[Found]:
    """Features by number, or by words of their labels and explanations."""
    return found_features(here, chosen_index(here, sae, corpus), q.strip()) if q.strip() else []


@router.get("/steer", response_class=HTMLResponse)
def steer_page(
    request: Request,
    here: Here,
    sae: Sae = None,
    features: Features = "",
    text: Text = "",
    corpus: Corpus = None,
    tokens: Tokens = 40,
    temperature: Temperature = 0.0,
    seed: Seed = 0,
    interventions: Interventions = None,
) -> HTMLResponse:
    """The page: it is there at once, and has the text continued itself where the link names features."""
    index = chosen_index(here, sae, corpus) if indexed_saes(here) else None
    chosen = steered_features(here, index, read_wishes(features, index["sae_id"])) if index else []
    asked = {
        "sae": sae,
        "corpus": corpus,
        "features": features,
        "text": text or EXAMPLE,
        "interventions": interventions,
    }
    settings = {"tokens": tokens, "temperature": temperature, "seed": seed}
    return page(
        "steer.html",
        workspace=here.path,
        here=urls.steer(),
        index=index,
        saes=indexed_saes(here),
        corpus=corpus,
        features=chosen,
        asked=asked,
        settings=settings,
        saved=saved_names(here),
        most=MOST_IN_A_LINK,
        off=request.app.state.live is None,
        result=urls.steer_result(**asked, **settings) if chosen or (index and interventions) else None,
    )


@router.get("/steer/result", response_class=HTMLResponse, include_in_schema=False)
def steer_result(
    request: Request,
    here: Here,
    sae: Sae = None,
    features: Features = "",
    text: Text = "",
    corpus: Corpus = None,
    tokens: Tokens = 40,
    temperature: Temperature = 0.0,
    seed: Seed = 0,
    interventions: Interventions = None,
) -> HTMLResponse:
    """What the page shows below its form."""
    try:
        view = view_of(request, here, sae, features, text, corpus, tokens, temperature, seed, interventions)
    except ProblemError as error:
        return page("problem.html", error.problem.status, error=error.problem)
    return page("steer_result.html", view=view)
