"""A feature's dream: a part of its page."""

from fastapi import APIRouter, status
from starlette.responses import HTMLResponse, Response

from web.errors import RESPONSES
from web.models.dreams import DreamPage
from web.models.jobs import Job
from web.rendering import json_answer, page
from web.routes.jobs import Runner, start
from web.routes.params import Corpus, Feature, Here, SaeId
from web.views.dreams import EXAMPLES, dream_frame, wanted

router = APIRouter(tags=["features"], responses=RESPONSES)


@router.get("/saes/{sae_id}/features/{feature}/dream.json", response_model=DreamPage)
def dream_json(here: Here, jobs: Runner, sae_id: SaeId, feature: Feature, corpus: Corpus = None) -> Response:
    """Prompts made to activate the feature, as data, or how far it is with them."""
    return json_answer(dream_frame(here, jobs, sae_id, feature, corpus).data())


@router.get("/saes/{sae_id}/features/{feature}/dream", response_class=HTMLResponse, include_in_schema=False)
def dream_fragment(here: Here, jobs: Runner, sae_id: SaeId, feature: Feature, corpus: Corpus = None) -> HTMLResponse:
    """The same for the page."""
    data = dream_frame(here, jobs, sae_id, feature, corpus)
    return page("dream.html", page=data, chosen_corpus=corpus, n_examples=EXAMPLES)


@router.post(
    "/saes/{sae_id}/features/{feature}/dream",
    status_code=status.HTTP_202_ACCEPTED,
    responses={409: RESPONSES[422]},
)
def dream_it(here: Here, jobs: Runner, sae_id: SaeId, feature: Feature, corpus: Corpus = None) -> Job:
    """Dream of the feature in the background."""
    return start(jobs, "dream", **wanted(here, sae_id, feature, corpus))
