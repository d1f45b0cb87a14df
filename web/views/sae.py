"""An SAE's page: where it comes from, how it was trained, how its features are spread."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from web import metrics
from web.figures.bins import Bins, Grid
from web.models import saes as models
from web.models.features import Histogram
from web.views.describe import flat, index_facts, quality, sae_headline, sae_summary
from web.views.presets import Counted, counted
from web.views.spread import Plot, spread
from web.workspace import Row, Workspace


@dataclass(frozen=True)
class SaeFrame:
    """What the table of features needs to know of its SAE."""

    id: str
    index: Row | None
    corpus: str | None
    chosen_corpus: str | None
    """The corpus, where the address has to name it because there are several."""
    presets: list[Counted]


@dataclass(frozen=True)
class SaeView(SaeFrame):
    """Everything on the page beside the table."""

    summary: str
    headline: list[tuple[str, str]]
    sections: list[tuple[str, list[tuple[str, str]]]]
    corpora: list[str]
    trained: bool
    curves: list[dict[str, Any]]
    plots: list[Plot]


def sae_frame(here: Workspace, sae_id: str, corpus: str | None) -> SaeFrame:
    """The frame of an SAE that exists. Raises ProblemError 404."""
    return _frame(here, here.sae(sae_id), corpus)


def _frame(here: Workspace, row: Row, corpus: str | None) -> SaeFrame:
    if not row["indexes"] and corpus is None:
        return SaeFrame(row["id"], None, None, None, [])
    index = here.index(row["id"], corpus)
    several = len(row["indexes"]) > 1
    return SaeFrame(row["id"], index, index["corpus_id"], index["corpus_id"] if several else None, counted(here, index))


def sae_view(here: Workspace, sae_id: str, corpus: str | None) -> SaeView:
    """The whole page of an SAE. Raises ProblemError 404."""
    row, config, rows = here.sae(sae_id), here.config(sae_id), here.metrics(sae_id)
    frame = _frame(here, row, corpus)
    sections = [("Configuration", list(flat(config)))]
    if frame.index:
        sections.append(("Provenance of the index", index_facts(frame.index)))
    sections.append(("Catalogue", list(flat({k: v for k, v in row.items() if k not in {"id", "indexes"}}))))
    return SaeView(
        id=sae_id,
        index=frame.index,
        corpus=frame.corpus,
        chosen_corpus=frame.chosen_corpus,
        presets=frame.presets,
        summary=sae_summary(row, config, frame.index or {}),
        headline=quality(row, rows[-1] if rows else {}, frame.index),
        sections=[(title, pairs) for title, pairs in sections if pairs],
        corpora=[index["corpus_id"] for index in row["indexes"]],
        trained=here.trained(sae_id),
        curves=curves(here, sae_id),
        plots=spread(here, frame.index) if frame.index else [],
    )


def curves(here: Workspace, sae_id: str) -> list[dict[str, Any]]:
    """An SAE's training curves; drawn anew when there is more of them."""
    rows = here.metrics(sae_id)
    return _drawn(here, sae_id, len(rows), str(rows[-1:]))


@lru_cache(maxsize=64)
def _drawn(here: Workspace, sae_id: str, _rows: int, _last: str) -> list[dict[str, Any]]:
    return metrics.curves(here.metrics(sae_id))


def sae_page(here: Workspace, sae_id: str, corpus: str | None) -> models.SaePage:
    """The page as data. Raises ProblemError 404."""
    row, config, rows = here.sae(sae_id), here.config(sae_id), here.metrics(sae_id)
    frame = _frame(here, row, corpus)
    plots = {plot.name: plot.drawn for plot in (spread(here, frame.index) if frame.index else [])}
    return models.SaePage(
        id=sae_id,
        summary=sae_summary(row, config, frame.index or {}),
        headline=sae_headline(row, rows[-1] if rows else {}),
        trained=here.trained(sae_id),
        corpora=[index["corpus_id"] for index in row["indexes"]],
        corpus=frame.corpus,
        index=frame.index,
        config=config,
        info=row,
        metrics=metrics.thinned(rows),
        density_histogram=_histogram(plots.get("density")),
        density_and_max=_grid(plots.get("strength")),
        norm_histogram=_histogram(plots.get("norms")),
        cosine_histogram=_histogram(plots.get("cosines")),
        dead=frame.index["n_dead"] if frame.index else None,
    )


def _grid(grid: Any) -> models.Grid | None:
    if not isinstance(grid, Grid):
        return None
    return models.Grid(x=grid.x.tolist(), y=grid.y.tolist(), counts=grid.counts.tolist())


def _histogram(bins: Any) -> Histogram | None:
    return Histogram(edges=bins.edges.tolist(), counts=bins.counts.tolist()) if isinstance(bins, Bins) else None
