"""An SAE's page: where it comes from, how it was trained, how its features are spread."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from web import metrics
from web.figures.frame import Figure
from web.figures.saes import density_bins, density_histogram
from web.formats import large, number, percent
from web.models.features import Histogram
from web.models.saes import SaePage
from web.views.describe import flat, index_facts, sae_headline, sae_summary
from web.workspace import Workspace


@dataclass(frozen=True)
class SaeFrame:
    """What the table of features needs to know of its SAE."""

    id: str
    index: dict[str, Any] | None
    corpus: str | None
    chosen_corpus: str | None
    """The corpus, where the address has to name it because there are several."""


@dataclass(frozen=True)
class SaeView(SaeFrame):
    """Everything on the page beside the table."""

    summary: str
    headline: list[tuple[str, str]]
    sections: list[tuple[str, list[tuple[str, str]]]]
    corpora: list[str]
    trained: bool
    curves: list[dict[str, Any]]
    density_figure: Figure | None
    density_caption: str


def sae_frame(here: Workspace, sae_id: str, corpus: str | None) -> SaeFrame:
    """The frame of an SAE that exists. Raises ProblemError 404."""
    rows = here.sae(sae_id)["indexes"]
    if not rows and corpus is None:
        return SaeFrame(sae_id, None, None, None)
    index = here.index(sae_id, corpus)
    return SaeFrame(sae_id, index, index["corpus_id"], index["corpus_id"] if len(rows) > 1 else None)


def sae_view(here: Workspace, sae_id: str, corpus: str | None) -> SaeView:
    """The whole page of an SAE. Raises ProblemError 404."""
    frame = sae_frame(here, sae_id, corpus)
    row, config, rows = here.sae(sae_id), here.config(sae_id), here.metrics(sae_id)
    densities = here.densities(frame.index["path"], sae_id, frame.index["corpus_id"]) if frame.index else None
    headline = sae_headline(row, rows[-1] if rows else {})
    if densities is not None:
        headline.append(("dead on this corpus", f"{large(int((densities == 0).sum()))} of {large(len(densities))}"))
        headline.append(("corpus", str(frame.corpus)))
    sections = [("Configuration", list(flat(config)))]
    if frame.index:
        sections.append(("Provenance of the index", index_facts(frame.index)))
    sections.append(("Catalogue", list(flat({k: v for k, v in row.items() if k not in {"id", "indexes"}}))))
    return SaeView(
        id=sae_id,
        index=frame.index,
        corpus=frame.corpus,
        chosen_corpus=frame.chosen_corpus,
        summary=sae_summary(row, config, frame.index or {}),
        headline=headline,
        sections=[(title, pairs) for title, pairs in sections if pairs],
        corpora=[index["corpus_id"] for index in row["indexes"]],
        trained=here.trained(sae_id),
        curves=metrics.curves(rows),
        density_figure=density_histogram(densities) if densities is not None else None,
        density_caption=density_caption(densities) if densities is not None else "",
    )


def density_caption(densities: np.ndarray) -> str:
    """The spread of densities in words."""
    alive = densities[densities > 0]
    dead = len(densities) - len(alive)
    if not len(alive):
        return f"all {large(dead)} features are dead here"
    middle = f"median {percent(float(np.median(alive)))} of tokens"
    return f"{middle} · L0 {number(float(densities.sum()))} · {large(dead)} dead, not drawn"


def sae_page(here: Workspace, sae_id: str, corpus: str | None) -> SaePage:
    """The page as data. Raises ProblemError 404."""
    frame = sae_frame(here, sae_id, corpus)
    row, config, rows = here.sae(sae_id), here.config(sae_id), here.metrics(sae_id)
    densities = here.densities(frame.index["path"], sae_id, frame.index["corpus_id"]) if frame.index else None
    return SaePage(
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
        density_histogram=log_histogram(densities) if densities is not None else None,
        dead=int((densities == 0).sum()) if densities is not None else None,
    )


def log_histogram(densities: np.ndarray) -> Histogram | None:
    """Densities in fifths of decades; None where all are dead."""
    edges, counts = density_bins(densities)
    return Histogram(edges=edges.tolist(), counts=counts.tolist()) if len(counts) else None
