"""Two SAEs matched, and two features side by side."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, status
from pydantic import BaseModel
from starlette.responses import HTMLResponse, Response

from web.errors import RESPONSES, ProblemError
from web.models.compare import ComparePage, FeaturePair, Side, Status
from web.models.jobs import Job
from web.rendering import json_answer, page
from web.routes.jobs import Runner, start
from web.routes.params import Corpus, Here
from web.urls import urls
from web.views import compare as views

router = APIRouter(tags=["comparison"], responses=RESPONSES)
Sae = Annotated[str | None, Query(max_length=200, description="an SAE's id")]
Named = Annotated[str, Query(max_length=220, description="a feature as <SAE>/<number>")]


def wanted(
    a: Sae = None,
    b: Sae = None,
    corpus: Corpus = None,
    side: Annotated[Side, Query(description="whose features are listed")] = "a",
    status: Annotated[Status, Query(description="which of them")] = "kept",
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
) -> views.Wanted:
    """The part of a comparison that is asked for."""
    return views.Wanted(a or None, b or None, corpus, side, status, page)


Asked = Annotated[views.Wanted, Depends(wanted)]


class Pair(BaseModel):
    """Two SAEs to be compared, on a corpus that both are indexed on."""

    a: str
    b: str
    corpus: str | None = None


@router.get("/compare.json")
def compare_json(here: Here, jobs: Runner, asked: Asked) -> ComparePage:
    """What became of the features of one SAE in another; before that is known, how far it is."""
    return views.compare_page(here, jobs, asked)


@router.get("/compare", response_class=HTMLResponse)
def compare(here: Here, jobs: Runner, asked: Asked) -> HTMLResponse:
    """What became of the features of one SAE in another."""
    data = views.compare_page(here, jobs, asked)
    figure = views.compare_figure(here, data)
    return page(
        "compare.html",
        page=data,
        figure=figure,
        statuses=views.STATUSES,
        here=urls.compare(),
        workspace=here.path,
    )


@router.post("/compare", status_code=status.HTTP_202_ACCEPTED, responses={409: RESPONSES[422]})
def start_comparison(here: Here, jobs: Runner, body: Pair) -> Job:
    """Compare two SAEs in the background; what is found is kept."""
    corpora = views.common_corpora(here, body.a, body.b)
    corpus = body.corpus or next(iter(corpora), None)
    if corpus is None or corpus not in corpora:
        cause = f"{body.a} and {body.b} are not indexed on one corpus."
        raise ProblemError(409, "They cannot be compared", cause, "Index both on the same: saebench index --sae …")
    return start(jobs, "compare", a=body.a, b=body.b, corpus=corpus)


@router.get("/compare/features.json", response_model=FeaturePair)
def features_json(here: Here, a: Named, b: Named, corpus: Corpus = None) -> Response:
    """Two features side by side, as data."""
    return json_answer(views.pair_view(here, views.feature_name(a), views.feature_name(b), corpus).data())


@router.get("/compare/features", response_class=HTMLResponse)
def features(here: Here, a: Named, b: Named, corpus: Corpus = None) -> HTMLResponse:
    """Two features side by side."""
    data = views.pair_view(here, views.feature_name(a), views.feature_name(b), corpus)
    return page("compare_features.html", page=data, chosen_corpus=corpus)
