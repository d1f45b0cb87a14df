"""One feature, and its live activations on any text."""

import hashlib
from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel
from starlette.responses import HTMLResponse, Response

from saebench.errors import UserError
from web.errors import RESPONSES, ProblemError
from web.formats import number
from web.live import MOST_CHARACTERS, LiveCodes
from web.markup import context_html, sources_html, units_html
from web.models import FeaturePage, LiveAnswer, LiveText, WholeContext
from web.rendering import environment, page
from web.routes.saes import Corpus, Filter, Here, Order, SaeId
from web.tokens import Unit, units
from web.urls import urls
from web.views.feature import ShownExample, existing_feature, feature_view, whole_context
from web.views.neighbourhood import Place, place_in_list
from web.views.table import PRESETS

router = APIRouter(tags=["features"], responses=RESPONSES)
Feature = Annotated[int, Path(ge=0, le=2**31 - 1, description="a feature's number")]
Context = Annotated[int, Path(ge=0, le=2**31 - 1, description="a context's number")]


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


def _live(request: Request, here: Here, sae_id: str, feature: int, corpus: str | None, text: str):  # type: ignore[no-untyped-def]
    """(codes, units, the feature's maximum in the index). Raises ProblemError for what cannot be encoded."""
    if len(text) > MOST_CHARACTERS:
        raise ProblemError(
            413,
            "Too long",
            f"The text has {len(text):,} characters; the test box takes {MOST_CHARACTERS:,}.",
            "Try a shorter passage.",
        )
    if not text:
        raise ProblemError(422, "Nothing to encode", "The text is empty.", "Type something.")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ProblemError(422, "Not text", "The text holds half a surrogate pair, which is no character.")
    maximum = existing_feature(here, feature, here.index(sae_id, corpus)).stats.max_activation
    live = request.app.state.live
    if live is None:
        raise ProblemError(503, "Test box off", "This dashboard runs without a language model.")
    try:
        codes: LiveCodes = live(sae_id, text)
    except UserError as error:
        raise ProblemError(503, "The text cannot be encoded", f"{error}.") from None
    merged = units(codes.pieces, codes.of(feature).tolist())
    return codes, merged, maximum


@router.post("/saes/{sae_id}/features/{feature}/live.json", responses={413: RESPONSES[422], 503: RESPONSES[422]})
def live_json(
    request: Request, here: Here, sae_id: SaeId, feature: Feature, body: LiveText, corpus: Corpus = None
) -> LiveAnswer:
    """The feature's activation at every token of a text, as data."""
    codes, merged, _ = _live(request, here, sae_id, feature, corpus, body.text)
    activations = [unit.activation for unit in merged]
    return LiveAnswer(
        sae=sae_id,
        feature=feature,
        tokens=[unit.text for unit in merged],
        activations=activations,
        n_tokens=len(codes.pieces),
        n_active=int((codes.of(feature) > 0).sum()),
        max_activation=max(activations, default=0.0),
    )


@router.post("/saes/{sae_id}/features/{feature}/live", response_class=HTMLResponse, include_in_schema=False)
def live_html(
    request: Request, here: Here, sae_id: SaeId, feature: Feature, body: LiveText, corpus: Corpus = None
) -> HTMLResponse:
    """The same as highlighted text, for the page."""
    codes, merged, maximum = _live(request, here, sae_id, feature, corpus, body.text)
    strongest: Unit | None = max(merged, key=lambda unit: unit.activation, default=None)
    fires = strongest is not None and strongest.activation > 0
    peak = strongest.start if strongest is not None and fires else None
    n_active = int((codes.of(feature) > 0).sum())
    of = f"{len(codes.pieces)} token{'s' * (len(codes.pieces) != 1)}"
    said = f"Fires on {n_active} of {of}, at most {number(strongest.activation)}" if fires else f"Silent on {of}"  # type: ignore[union-attr]
    html = units_html(merged, maximum or (strongest.activation if fires else 1.0), peak)  # type: ignore[union-attr]
    return page("live.html", html=html, said=said)


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
