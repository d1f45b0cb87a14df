"""An SAE and the table of its features."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query
from starlette.responses import HTMLResponse

from web.errors import RESPONSES, ProblemError
from web.models.saes import FeatureList, SaePage
from web.rendering import page
from web.routes.params import Corpus, Filter, Here, Order, SaeId
from web.views import sae as views
from web.views.table import PRESETS, Table, TableQuery, feature_table

router = APIRouter(tags=["saes"], responses=RESPONSES)
Page = Annotated[int, Query(ge=1, le=1_000_000)]
Size = Annotated[int, Query(ge=1, le=1000, description="features per page")]


def query(filter: Filter = "", order: Order = "", page: Page = 1, size: Size = 50) -> TableQuery:
    """The part of the table that is asked for."""
    return TableQuery(filter=filter.strip(), order=order.strip(), page=page, size=size)


@router.get("/saes/{sae_id}/features.json")
def features_json(
    here: Here, sae_id: SaeId, wanted: Annotated[TableQuery, Depends(query)], corpus: Corpus = None
) -> FeatureList:
    """One page of the features that `filter` keeps, in `order`."""
    index = here.index(sae_id, corpus)
    table = feature_table(here, sae_id, index["corpus_id"], wanted)
    if table.problem:
        raise ProblemError(422, "The filter cannot be read", table.problem.message)
    return table.as_list(sae_id, index["corpus_id"])


@router.get("/saes/{sae_id}.json")
def sae_json(here: Here, sae_id: SaeId, corpus: Corpus = None) -> SaePage:
    """An SAE as data: configuration, provenance, training metrics, density histogram."""
    return views.sae_page(here, sae_id, corpus)


@router.get("/saes/{sae_id}", response_class=HTMLResponse)
def sae(
    here: Here,
    sae_id: SaeId,
    wanted: Annotated[TableQuery, Depends(query)],
    corpus: Corpus = None,
    hx_request: Annotated[str | None, Header()] = None,
    hx_target: Annotated[str | None, Header()] = None,
) -> HTMLResponse:
    """An SAE's page; asked by htmx for `features`, only its table."""
    fragment = hx_request is not None and hx_target == "features"
    data = views.sae_frame(here, sae_id, corpus) if fragment else views.sae_view(here, sae_id, corpus)
    table = feature_table(here, sae_id, data.index["corpus_id"], wanted) if data.index else Table.empty(wanted)
    template = "features_table.html" if fragment else "sae.html"
    status = 422 if table.problem else 200
    return page(template, status, {"Vary": "HX-Request"}, page=data, table=table, presets=PRESETS)
