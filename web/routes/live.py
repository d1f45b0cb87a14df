"""A feature on any text: where it fires, and what removing it does to the model's predictions."""

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from web.errors import RESPONSES
from web.live import live_effects
from web.models.live import LiveAnswer, LiveText
from web.rendering import page
from web.routes.model import MODEL_RESPONSES, answering, checked_text, live_of
from web.routes.params import Corpus, Feature, Here, SaeId
from web.views.examples import existing_feature
from web.views.live import LiveView
from web.workspace import Workspace

router = APIRouter(tags=["features"], responses=RESPONSES)

MOST_CHARACTERS = 8_000


def live_view(request: Request, here: Workspace, sae_id: str, feature: int, corpus: str | None, text: str) -> LiveView:
    """The feature on the text. Raises ProblemError for what cannot be read."""
    text = checked_text(text, MOST_CHARACTERS)
    maximum = existing_feature(here, feature, here.index(sae_id, corpus)).stats.max_activation
    live = live_of(request)
    with answering():
        return LiveView(sae_id, feature, maximum, live_effects(live, sae_id, feature, text))


@router.post("/saes/{sae_id}/features/{feature}/live.json", responses=MODEL_RESPONSES)
def live_json(
    request: Request, here: Here, sae_id: SaeId, feature: Feature, body: LiveText, corpus: Corpus = None
) -> LiveAnswer:
    """The feature's activation at every token of a text, and what removing it changes, as data."""
    return live_view(request, here, sae_id, feature, corpus, body.text).data()


@router.post("/saes/{sae_id}/features/{feature}/live", response_class=HTMLResponse, include_in_schema=False)
def live_html(
    request: Request, here: Here, sae_id: SaeId, feature: Feature, body: LiveText, corpus: Corpus = None
) -> HTMLResponse:
    """The same as highlighted text, for the page."""
    return page("live.html", view=live_view(request, here, sae_id, feature, corpus, body.text))
