"""One feature: its page, its card for other pages, and what is on them, as HTML and as data."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse, Response

from web.errors import RESPONSES
from web.markup import context_html
from web.middleware.kept import KEPT
from web.models.examples import ExampleLists, Kind, WholeContext
from web.models.features import FeaturePage, Measure, RelatedFeatures
from web.rendering import json_answer, page
from web.routes.params import Context, Corpus, Feature, Filter, Here, ListQuery, Order, SaeId, Search
from web.urls import urls
from web.views.examples import examples_view, existing_feature, whole_context
from web.views.feature import coactive, feature_view
from web.views.neighbourhood import place_in_list, place_on_list
from web.views.presets import DEAD

router = APIRouter(tags=["features"], responses=RESPONSES)
Width = Annotated[
    Literal["line", "near", "snippet", "full"], Query(description="how much of each example's text is shown")
]
CARD = 5
"""Examples on an embedded card."""


@router.get("/saes/{sae_id}/features/{feature}.json", response_model=FeaturePage)
async def feature_json(here: Here, sae_id: SaeId, feature: Feature, corpus: Corpus = None) -> Response:
    """A feature's page as data.

    It reads a millisecond from memory: to hand it to a thread would take longer.
    """
    await here.settle()
    return json_answer(feature_view(here, feature, here.index(sae_id, corpus)).data(), KEPT)


@router.get("/saes/{sae_id}/features/{feature}", response_class=HTMLResponse)
def feature_page(
    request: Request,
    here: Here,
    sae_id: SaeId,
    feature: Feature,
    corpus: Corpus = None,
    filter: Filter = "",
    order: Order = "",
    search: Search = "",
    list: ListQuery = "",
    context: Width = "line",
    embed: bool = False,
) -> Response:
    """A feature's page; arrow keys walk what `filter`, `order` and `search`, or `list`, name. `embed`: as a card."""
    index = here.index(sae_id, corpus)
    view = feature_view(here, feature, index)
    if embed:
        whole = str(request.url.replace(path=urls.feature(sae_id, feature), query=f"corpus={corpus}" if corpus else ""))
        return page("card.html", headers=KEPT, page=view, shown=view.top.lists[0].examples[:CARD], whole=whole)
    place = place_on_list(here, sae_id, feature, list) if list else None
    place = place or place_in_list(here, index, feature, filter.strip(), order.strip(), search.strip())
    listed = {"filter": filter, "order": order, "search": search, "corpus": corpus}
    link = {**listed, "list": list, "context": None if context == "line" else context}

    def neighbour(found: tuple[str, int] | None) -> str | None:
        return None if found is None else urls.feature(found[0], found[1], **link)

    return page(
        "feature.html",
        headers=KEPT,
        page=view,
        place=place,
        circuits=here.circuits.with_feature(sae_id, feature),
        width=context,
        known_lists=here.store.list_names(),
        chosen_corpus=corpus,
        list_url=urls.feature_list(list) if list else urls.sae(sae_id, **listed),
        list_name=list or sae_id,
        dead_url=urls.sae(sae_id, filter=DEAD, corpus=corpus),
        previous_url=neighbour(place.previous),
        next_url=neighbour(place.next),
        live_off=None if request.app.state.live else "Off: this dashboard runs without a language model.",
    )


@router.get("/saes/{sae_id}/features/{feature}/examples/{kind}.json", response_model=ExampleLists)
def examples_json(here: Here, sae_id: SaeId, feature: Feature, kind: Kind, corpus: Corpus = None) -> Response:
    """A feature's examples of one kind, as data."""
    index = here.index(sae_id, corpus)
    return json_answer(examples_view(index, existing_feature(here, feature, index), kind).data(), KEPT)


@router.get("/saes/{sae_id}/features/{feature}/examples/{kind}", response_class=HTMLResponse, include_in_schema=False)
def examples_fragment(here: Here, sae_id: SaeId, feature: Feature, kind: Kind, corpus: Corpus = None) -> Response:
    """The same as highlighted text, for the page."""
    index = here.index(sae_id, corpus)
    view = examples_view(index, existing_feature(here, feature, index), kind)
    return page("examples.html", headers=KEPT, view=view, chosen_corpus=corpus)


@router.get("/saes/{sae_id}/features/{feature}/coactive/{measure}.json", response_model=RelatedFeatures)
def coactive_json(here: Here, sae_id: SaeId, feature: Feature, measure: Measure, corpus: Corpus = None) -> Response:
    """The features that fire on the same tokens as one, strongest first, as data."""
    index = here.index(sae_id, corpus)
    found: dict[str, Any] = {"sae": sae_id, "feature": feature, "corpus": index["corpus_id"], "measure": measure}
    return json_answer({**found, "features": coactive(here, feature, index, measure)}, KEPT)


@router.get(
    "/saes/{sae_id}/features/{feature}/coactive/{measure}", response_class=HTMLResponse, include_in_schema=False
)
def coactive_fragment(here: Here, sae_id: SaeId, feature: Feature, measure: Measure, corpus: Corpus = None) -> Response:
    """The same as a list, for the page."""
    found = coactive(here, feature, here.index(sae_id, corpus), measure)
    return page("related.html", headers=KEPT, sae=sae_id, features=found, chosen_corpus=corpus)


@router.get("/saes/{sae_id}/features/{feature}/contexts/{context}.json", response_model=WholeContext)
def context_json(here: Here, sae_id: SaeId, feature: Feature, context: Context, corpus: Corpus = None) -> Response:
    """A whole context of the corpus and where the feature fires in it, as data."""
    found = whole_context(here, feature, context, here.index(sae_id, corpus))
    return json_answer({"context": context, "tokens": found.text, "activations": found.activations}, KEPT)


@router.get(
    "/saes/{sae_id}/features/{feature}/contexts/{context}", response_class=HTMLResponse, include_in_schema=False
)
def context_fragment(
    here: Here, sae_id: SaeId, feature: Feature, context: Context, peak: int = 0, corpus: Corpus = None
) -> Response:
    """The same as highlighted text, for the page."""
    index = here.index(sae_id, corpus)
    found = whole_context(here, feature, context, index)
    maximum = existing_feature(here, feature, index).stats.max_activation
    return HTMLResponse(context_html(found.units, maximum, peak), headers=KEPT)
