"""Lists of features."""

import getpass
from typing import Annotated

from fastapi import APIRouter, Path, status
from starlette.responses import HTMLResponse, Response

from store import Annotations, StoreError
from web.errors import RESPONSES
from web.models.lists import Description, ListPage, Lists, ListSummary, NewList
from web.rendering import page
from web.routes.params import Feature, Here, SaeId
from web.urls import urls
from web.views import lists as views

router = APIRouter(tags=["lists"], responses=RESPONSES)
ListName = Annotated[str, Path(pattern=r"^[^/\x00-\x1f]{1,80}$", description="a list's name")]
NO_CONTENT = status.HTTP_204_NO_CONTENT


@router.get("/lists.json")
def lists_json(here: Here) -> Lists:
    """All lists of the workspace, as data."""
    return views.lists_page(here)


@router.get("/lists", response_class=HTMLResponse)
def lists(here: Here) -> HTMLResponse:
    """All lists of the workspace."""
    return page("lists.html", page=views.lists_page(here), here=urls.lists())


@router.post("/lists", status_code=status.HTTP_201_CREATED)
def make_list(here: Here, body: NewList, response: Response) -> ListSummary:
    """Make a list, or describe anew the one of that name; its address is in `Location`."""
    name = body.name.strip()
    try:
        Annotations(here.path).describe_list(name, body.description, getpass.getuser())
    except StoreError as error:
        raise views.refused(error) from None
    response.headers["Location"] = urls.feature_list(name)
    return ListSummary.model_validate(views.existing_list(here, name)._asdict())


@router.get("/lists/{name}.json")
def list_json(here: Here, name: ListName) -> ListPage:
    """A list and its features, as data."""
    return views.list_page(here, name)


@router.get("/lists/{name}.csv", response_class=Response, responses={200: {"content": {"text/csv": {}}}})
def list_csv(here: Here, name: ListName) -> Response:
    """The features of a list as CSV."""
    return Response(views.list_csv(views.list_page(here, name)), media_type="text/csv; charset=utf-8")


@router.get("/lists/{name}", response_class=HTMLResponse)
def feature_list(here: Here, name: ListName) -> HTMLResponse:
    """A list and its features."""
    return page("list.html", page=views.list_page(here, name))


@router.put("/lists/{name}", status_code=NO_CONTENT)
def describe_list(here: Here, name: ListName, body: Description) -> None:
    """Say what a list is for."""
    views.existing_list(here, name)
    try:
        Annotations(here.path).describe_list(name, body.description, getpass.getuser())
    except StoreError as error:
        raise views.refused(error) from None


@router.delete("/lists/{name}", status_code=NO_CONTENT)
def remove_list(here: Here, name: ListName) -> None:
    """Remove a list; its features, their labels and notes stay."""
    Annotations(here.path).remove_list(views.existing_list(here, name).name)


@router.put("/lists/{name}/features/{sae_id}/{feature}", status_code=NO_CONTENT)
def add_to_list(here: Here, name: ListName, sae_id: SaeId, feature: Feature) -> None:
    """Put a feature at the end of a list, unless it is on it; a list that is not there yet is made."""
    index = here.index(sae_id, None)
    try:
        here.store.feature(sae_id, feature, index["corpus_id"])
        Annotations(here.path).add_to_list(name, sae_id, feature, getpass.getuser())
    except StoreError as error:
        raise views.refused(error) from None


@router.delete("/lists/{name}/features/{sae_id}/{feature}", status_code=NO_CONTENT)
def remove_from_list(here: Here, name: ListName, sae_id: SaeId, feature: Feature) -> None:
    """Take a feature off a list, whether its SAE is still there or not."""
    Annotations(here.path).remove_from_list(views.existing_list(here, name).name, sae_id, feature)
