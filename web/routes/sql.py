"""The SQL box: queries over the indexes and what is said of their features, read-only."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import HTMLResponse, Response

from store.sandbox import LONGEST_QUERY
from web.errors import RESPONSES
from web.models.sql import SqlAnswer
from web.rendering import environment, page
from web.routes.params import Here
from web.urls import urls
from web.views import sql as views

router = APIRouter(tags=["sql"], responses=RESPONSES)
Sql = Annotated[str, Query(alias="q", max_length=LONGEST_QUERY, description="one SELECT in DuckDB's SQL")]
Whose = Annotated[
    str | None, Query(max_length=200, description="the SAE whose tables go by bare names; default: the first")
]

environment.filters["cell"] = views.cell


@router.get("/sql.json")
def sql_json(here: Here, q: Sql = "", sae: Whose = None) -> SqlAnswer:
    """The first 1,000 rows of a query."""
    return views.sql_answer(here, q, sae, views.ROWS)


@router.get("/sql.csv", response_class=Response, responses={200: {"content": {"text/csv": {}}}})
def sql_csv(here: Here, q: Sql = "", sae: Whose = None) -> Response:
    """The first 100,000 rows of a query as CSV."""
    return Response(views.sql_csv(views.sql_answer(here, q, sae, views.CSV_ROWS)), media_type="text/csv; charset=utf-8")


@router.get("/sql", response_class=HTMLResponse)
def sql(here: Here, q: Sql = "", sae: Whose = None) -> HTMLResponse:
    """A box for a query, and its rows."""
    return page("sql.html", page=views.sql_view(here, q.strip(), sae), examples=views.EXAMPLES, here=urls.sql())
