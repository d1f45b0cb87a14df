"""An SAE and the table of its features."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query
from starlette.responses import HTMLResponse, Response

from store.names import NAMES
from web.errors import RESPONSES, ProblemError
from web.middleware.kept import KEPT
from web.models.saes import FeatureList, SaePage
from web.rendering import page
from web.routes.params import Corpus, Filter, Here, Order, SaeId, Search
from web.views import sae as views
from web.views.table import TableQuery, feature_table, row_links

router = APIRouter(tags=["saes"], responses=RESPONSES)
From = Annotated[int, Query(alias="from", ge=0, le=2**31 - 1, description="features before the first one wanted")]
Size = Annotated[int, Query(ge=1, le=1000, description="features wanted")]
Columns = Annotated[str, Query(max_length=200, description="columns shown, by name, with commas")]


def query(
    filter: Filter = "", order: Order = "", search: Search = "", columns: Columns = "", start: From = 0
) -> TableQuery:
    """The part of the table that is asked for."""
    return TableQuery(filter.strip(), order.strip(), search.strip(), columns, start)


@router.get("/saes/{sae_id}/features.json")
def features_json(
    answer: Response,
    here: Here,
    sae_id: SaeId,
    filter: Filter = "",
    order: Order = "",
    search: Search = "",
    start: From = 0,
    size: Size = 50,
    corpus: Corpus = None,
) -> FeatureList:
    """Some of the features that `filter` and `search` keep, in `order`."""
    index = here.index(sae_id, corpus)
    wanted = TableQuery(filter.strip(), order.strip(), search.strip(), "", start, size)
    table = feature_table(here, index, wanted, aligned=False)
    if table.problem:
        raise ProblemError(422, f"The {table.at} cannot be read", table.problem.message)
    answer.headers.update(KEPT)
    return table.as_list(sae_id, index["corpus_id"])


@router.get("/saes/{sae_id}/rows", response_class=HTMLResponse, include_in_schema=False)
def rows(
    here: Here, sae_id: SaeId, wanted: Annotated[TableQuery, Depends(query)], corpus: Corpus = None
) -> HTMLResponse:
    """A window of the table's rows, for scrolling."""
    table = feature_table(here, here.index(sae_id, corpus), wanted)
    if table.problem:
        raise ProblemError(422, f"The {table.at} cannot be read", table.problem.message)
    return page("features_rows.html", headers=KEPT, table=table, link=row_links(sae_id, wanted, corpus))


@router.get("/saes/{sae_id}.json")
def sae_json(here: Here, sae_id: SaeId, corpus: Corpus = None) -> SaePage:
    """An SAE as data: configuration, provenance, training metrics, histograms of its features."""
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
    table = feature_table(here, data.index, wanted) if data.index else None
    template = "features_table.html" if fragment else "sae.html"
    status = 422 if table and table.problem else 200
    link = row_links(sae_id, wanted, data.chosen_corpus)
    shown = {"page": data, "table": table, "link": link, "names": list(map(tuple, NAMES)), "workspace": here.path}
    return page(template, status, {"Vary": "HX-Request"}, **shown)
