"""The map of an SAE's decoder directions."""

from dataclasses import dataclass

from store import StoreError, find_map
from web.errors import ProblemError
from web.jobs.runner import JobRunner
from web.models.jobs import JobPage
from web.models.maps import MapPage, MapPoints
from web.tokens import readable
from web.workspace import Workspace

DIGITS = 3
"""Decimals of a coordinate: a thousandth of the distance at which UMAP calls points neighbours."""
LONGEST = 60
"""Characters of what is said of a feature."""
TOKENS = 3


@dataclass(frozen=True)
class MapFrame:
    """What the page shows around the points."""

    sae: str
    corpus: str | None
    drawn: bool
    drawable: bool
    """Whether the SAE's weights are there."""
    n_points: int
    job: JobPage | None


def map_frame(here: Workspace, jobs: JobRunner, sae: str, corpus: str | None) -> MapFrame:
    """Whether there is a map, or what keeps it. Raises ProblemError 404."""
    here.sae(sae)
    drawable = here.trained(sae)
    found = find_map(here.path, sae) if drawable else None
    return MapFrame(
        sae, corpus, found is not None, drawable, len(found.points) if found else 0, jobs.last("map", sae=sae)
    )


def map_page(here: Workspace, jobs: JobRunner, sae: str, corpus: str | None) -> MapPage:
    """The map as data. Raises ProblemError 404."""
    row = here.sae(sae)
    found = find_map(here.path, sae) if here.trained(sae) else None
    job = jobs.last("map", sae=sae)
    own = here.index(sae, corpus)["corpus_id"] if row["indexes"] else None
    if found is None:
        return MapPage(sae=sae, corpus=own, points=None, job=job)
    density, said = _features(here, sae, own) if own is not None else ([], [])
    if said and len(said) != len(found.points):
        raise ProblemError(
            409, "The map does not fit", f"The map of {sae} has {len(found.points):,} points, its index {len(said):,}.",
            f"Index it again: saebench index --sae {sae}",
        )  # fmt: skip
    points = MapPoints(
        x=found.points[:, 0].round(DIGITS).astype(float).round(DIGITS).tolist(),
        y=found.points[:, 1].round(DIGITS).astype(float).round(DIGITS).tolist(),
        density=density,
        said=said,
    )
    return MapPage(sae=sae, corpus=own, points=points, job=job)


def _features(here: Workspace, sae: str, corpus: str) -> tuple[list[float], list[str]]:
    """(density, what is said of it) of every feature by number."""
    relation = here.store.features(sae, corpus).order("feature").select("feature", "density", "label", "promoted")
    columns = relation.arrow().to_pydict()
    best = {
        row["feature"]: row["text"] for row in reversed(here.store.explanations(sae).select("feature", "text").rows())
    }
    said = [
        label or best.get(feature) or " ".join(readable(token.encode()) for token in (promoted or [])[:TOKENS])
        for feature, label, promoted in zip(columns["feature"], columns["label"], columns["promoted"], strict=True)
    ]
    density = [float(f"{value:.3g}") for value in columns["density"]]
    return density, [text if len(text) <= LONGEST else text[: LONGEST - 1] + "…" for text in said]


def check_drawable(here: Workspace, sae: str) -> None:
    """Raise ProblemError 404 unless the SAE is there, 409 unless its weights are."""
    here.sae(sae)
    try:
        find_map(here.path, sae)
    except StoreError as error:
        remedy = "Train it to its end, or import its weights."
        raise ProblemError(409, "There is nothing to draw", f"{error}.", remedy) from None
