"""One feature, and its live activations on any text."""

import hashlib

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import HTMLResponse, Response

from web.errors import RESPONSES
from web.markup import context_html, sources_html
from web.models.examples import WholeContext
from web.models.features import FeaturePage
from web.rendering import environment, page
from web.routes.params import Context, Corpus, Feature, Filter, Here, Order, SaeId
from web.urls import urls
from web.views.feature import ShownExample, existing_feature, feature_view, whole_context
from web.views.neighbourhood import Place, place_in_list
from web.views.table import PRESETS

router = APIRouter(tags=["features"], responses=RESPONSES)


def _context(example: ShownExample, maximum: float):  # type: ignore[no-untyped-def]
    return context_html(example.units, maximum, example.peak)


environment.filters["context"] = _context
environment.filters["sources"] = lambda example: sources_html(example.units, example.sources.tokens, example.peak)


@router.get("/saes/{sae_id}/features/{feature}.json", response_model=FeaturePage)
def feature_json(request: Request, here: Here, sae_id: SaeId, feature: Feature, corpus: Corpus = None) -> Response:
    """Everything known about a feature, as data."""
    index = here.index(sae_id, corpus)
    if unchanged := _unchanged(request, index):
        return unchanged
    return _json(request, feature_view(here, feature, index).data(), index)


@router.get("/saes/{sae_id}/features/{feature}", response_class=HTMLResponse)
def feature_page(
    request: Request,
    here: Here,
    sae_id: SaeId,
    feature: Feature,
    corpus: Corpus = None,
    filter: Filter = "",
    order: Order = "",
) -> Response:
    """A feature's page; `filter` and `order` name the list that the arrow keys walk."""
    index = here.index(sae_id, corpus)
    place = place_in_list(here, index, feature, filter.strip(), order.strip())
    if unchanged := _unchanged(request, index, place):
        return unchanged
    view = feature_view(here, feature, index)
    link = {"filter": filter, "order": order, "corpus": corpus}

    def neighbour(number: int | None) -> str | None:
        return None if number is None else urls.feature(sae_id, number, **link)

    return page(
        "feature.html",
        headers=_headers(request, index, place),
        page=view,
        place=place,
        chosen_corpus=corpus,
        list_url=urls.sae(sae_id, **link),
        dead_url=urls.sae(sae_id, filter=dict(PRESETS)["dead"], corpus=corpus),
        previous_url=neighbour(place.previous),
        next_url=neighbour(place.next),
        live_off=None if request.app.state.live else "Off: this dashboard runs without a language model.",
    )


@router.get("/saes/{sae_id}/features/{feature}/contexts/{context}.json", response_model=WholeContext)
def context_json(
    request: Request, here: Here, sae_id: SaeId, feature: Feature, context: Context, corpus: Corpus = None
) -> Response:
    """A whole context of the corpus and where the feature fires in it, as data."""
    index = here.index(sae_id, corpus)
    if unchanged := _unchanged(request, index):
        return unchanged
    found = whole_context(here, feature, context, index)
    tokens, activations = [unit.text for unit in found], [unit.activation for unit in found]
    return _json(request, WholeContext(context=context, tokens=tokens, activations=activations), index)


@router.get(
    "/saes/{sae_id}/features/{feature}/contexts/{context}", response_class=HTMLResponse, include_in_schema=False
)
def context_fragment(
    request: Request,
    here: Here,
    sae_id: SaeId,
    feature: Feature,
    context: Context,
    peak: int = 0,
    corpus: Corpus = None,
) -> Response:
    """The same as highlighted text, for the page."""
    index = here.index(sae_id, corpus)
    if unchanged := _unchanged(request, index):
        return unchanged
    found = whole_context(here, feature, context, index)
    maximum = existing_feature(here, feature, index).stats.max_activation
    return HTMLResponse(context_html(found, maximum, peak), headers=_headers(request, index))


def _headers(request: Request, index: dict, place: Place | None = None) -> dict[str, str]:
    shown = (index["path"], request.url.path, request.url.query, request.app.state.live is None, place)
    return {
        "ETag": '"' + hashlib.sha256(repr((urls.fingerprint, *shown)).encode()).hexdigest()[:24] + '"',
        "Cache-Control": "private, no-cache",
    }


def _unchanged(request: Request, index: dict, place: Place | None = None) -> Response | None:
    """304 where the browser has just this: an index never changes, so neither does what is read from it; a page's place
    in a list may, with the labels that chose the list.
    """
    headers = _headers(request, index, place)
    return (
        Response(status_code=304, headers=headers) if request.headers.get("if-none-match") == headers["ETag"] else None
    )


def _json(request: Request, data: BaseModel, index: dict) -> Response:
    return Response(data.model_dump_json(), media_type="application/json", headers=_headers(request, index))
