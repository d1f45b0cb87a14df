"""An SAE's features, and the numbers behind its plots, as files."""

from pathlib import Path
from typing import Annotated, Literal

import pyarrow as pa
from fastapi import APIRouter
from fastapi import Path as InPath
from pyarrow import csv
from starlette.responses import Response, StreamingResponse

from store import StoreError
from web import metrics
from web.download import MEDIA, attachment, file_name
from web.errors import RESPONSES, ProblemError
from web.routes.params import Corpus, Filter, Here, Order, SaeId, Search
from web.views.spread import spread

router = APIRouter(tags=["saes"], responses=RESPONSES)
Plot = Annotated[Literal["density", "strength", "norms", "cosines", "training"], InPath(description="which plot")]


def file_of(ending: str) -> dict[int | str, dict]:
    """For the OpenAPI description of a route that answers with a file."""
    return {200: {"content": {MEDIA[ending].partition(";")[0]: {}}, "description": "The file"}}


@router.get("/saes/{sae_id}/features.csv", response_class=StreamingResponse, responses=file_of("csv"))
def features_csv(
    here: Here, sae_id: SaeId, filter: Filter = "", order: Order = "", search: Search = "", corpus: Corpus = None
) -> StreamingResponse:
    """All features of a list with all their columns, labels and best explanations, as CSV."""
    return _file(here, sae_id, corpus, "csv", filter.strip(), order.strip(), search.strip())


@router.get("/saes/{sae_id}/features.parquet", response_class=StreamingResponse, responses=file_of("parquet"))
def features_parquet(
    here: Here, sae_id: SaeId, filter: Filter = "", order: Order = "", search: Search = "", corpus: Corpus = None
) -> StreamingResponse:
    """The same as Parquet."""
    return _file(here, sae_id, corpus, "parquet", filter.strip(), order.strip(), search.strip())


@router.get("/saes/{sae_id}/plots/{plot}.csv", response_class=Response, responses=file_of("csv"))
def plotted(here: Here, sae_id: SaeId, plot: Plot, corpus: Corpus = None) -> Response:
    """The numbers behind a plot: the bins of a histogram, or all training metrics."""
    name = file_name(f"{sae_id}.{plot}")
    headers = {"Content-Disposition": f'attachment; filename="{name.encode("ascii", "ignore").decode()}.csv"'}
    return Response(_numbers(here, sae_id, plot, corpus), media_type=MEDIA["csv"], headers=headers)


def _numbers(here: Here, sae_id: str, plot: str, corpus: str | None) -> bytes:
    here.sae(sae_id)
    if plot == "training":
        table = pa.Table.from_pylist(metrics.scalars(here.metrics(sae_id)))
    else:
        drawn = {one.name: one for one in spread(here, here.index(sae_id, corpus))}
        if plot not in drawn:
            cause = f"{sae_id} has no plot {plot!r}: its index does not know the numbers."
            raise ProblemError(404, "No such plot", cause)
        table = drawn[plot].table
    sink = pa.BufferOutputStream()
    csv.write_csv(table, sink)
    return sink.getvalue().to_pybytes()


def _file(
    here: Here, sae_id: str, corpus: str | None, ending: str, filter: str, order: str, search: str
) -> StreamingResponse:
    index = here.index(sae_id, corpus)
    try:
        here.found(index, filter, order, search)
        relation = here.selection(sae_id, index["corpus_id"], filter, order, search)
    except StoreError as error:
        raise ProblemError(422, "The list cannot be read", str(error)) from None

    def write(path: Path) -> None:
        (relation.to_csv if ending == "csv" else relation.to_parquet)(path)

    listed = ".".join(part for part in (sae_id, index["corpus_id"], filter, search) if part)
    return attachment(write, listed, ending)
