"""Lists of features: all of them, one of them, and where a feature stands in one."""

import csv
import io
from typing import NamedTuple

from store import Annotations, FeatureList, StoreError
from web.errors import ProblemError
from web.formats import large
from web.models.lists import ListedFeature, ListPage, Lists, ListSummary
from web.views.summary import summaries
from web.workspace import Workspace

_CSV = ("sae", "feature", "label", "explanation", "promoted", "density", "max_activation", "author", "made_at")


def lists_page(here: Workspace) -> Lists:
    """All lists of the workspace."""
    return Lists(lists=[_summary(one) for one in _lists(here)])


def list_page(here: Workspace, name: str) -> ListPage:
    """One list with its features. Raises ProblemError 404."""
    found = existing_list(here, name)
    kept = Annotations(here.path).listed(name)
    rows = summaries(here, [(one.sae, one.feature) for one in kept])
    features = [
        ListedFeature(**row.model_dump(), author=one.author, made_at=one.made_at)
        for row, one in zip(rows, kept, strict=True)
    ]
    return ListPage(**_summary(found).model_dump(exclude={"n_features"}), features=features)


def existing_list(here: Workspace, name: str) -> FeatureList:
    """A list that is there. Raises ProblemError 404."""
    for one in _lists(here):
        if one.name == name:
            return one
    raise ProblemError(404, "No such list", f"This workspace has no list {name!r}.", "The page of lists has them all.")


def list_csv(data: ListPage) -> str:
    """A list as CSV; promoted tokens with spaces between, each spelled as JSON spells it."""
    out = io.StringIO()
    writer = csv.DictWriter(out, _CSV, extrasaction="ignore")
    writer.writeheader()
    for row in data.features:
        promoted = " ".join(token.encode("unicode_escape").decode() for token in row.promoted)
        writer.writerow(row.model_dump(mode="json") | {"promoted": promoted})
    return out.getvalue()


class ListPlace(NamedTuple):
    """The features (SAE, number) before and after one on a list, and its place in words."""

    previous: tuple[str, int] | None
    next: tuple[str, int] | None
    words: str


def place_on_list(here: Workspace, name: str, sae: str, feature: int) -> ListPlace | None:
    """Where a feature stands on a list, for the arrow keys; None if it is not on it."""
    on = [(one.sae, one.feature) for one in Annotations(here.path).listed(name)]
    if (sae, feature) not in on:
        return None
    i = on.index((sae, feature))
    before, after = on[i - 1] if i > 0 else None, on[i + 1] if i + 1 < len(on) else None
    return ListPlace(before, after, f"{large(i + 1)} of {large(len(on))} on {name}")


def refused(error: StoreError) -> ProblemError:
    """What the store refuses to write, as an answer."""
    return ProblemError(422, "That cannot be kept", f"{error}.")


def _lists(here: Workspace) -> list[FeatureList]:
    """A workspace without a catalogue has none, and gets none by being looked at."""
    return Annotations(here.path).lists() if (here.path / "catalog.duckdb").exists() else []


def _summary(one: FeatureList) -> ListSummary:
    return ListSummary.model_validate(one._asdict())
