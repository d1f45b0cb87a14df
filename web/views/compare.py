"""Two SAEs, and two features, side by side."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from store import Comparison, StoreError
from store.compare import check_same_text, fire_together
from store.weights import decoder_row
from web.errors import ProblemError
from web.figures.comparison import best_cosines
from web.figures.frame import Figure
from web.jobs.runner import JobRunner
from web.models.compare import ComparedFeature, ComparePage, Side, Status
from web.views.feature import FeatureView, feature_view
from web.views.summary import summaries
from web.workspace import Workspace

SIZE = 50
STATUSES: dict[Side, dict[Status, str]] = {
    "a": {
        "kept": "it and its nearest in the other are each other's nearest",
        "split": "it is the nearest of two or more features of the other",
        "merged": "its nearest in the other is nearer to another feature",
        "vanished": "the other has nothing like it",
        "dead": "never active on this corpus",
    },
    "b": {
        "kept": "it and its nearest in the other are each other's nearest",
        "merged": "it is the nearest of two or more features of the other",
        "split": "its nearest in the other is nearer to another feature",
        "appeared": "the other has nothing like it",
        "dead": "never active on this corpus",
    },
}
"""What each word means for a feature of the first SAE, and of the second."""


@dataclass(frozen=True)
class Wanted:
    """Which part of a comparison is asked for."""

    a: str | None
    b: str | None
    corpus: str | None
    side: Side
    status: Status
    page: int


def compare_page(here: Workspace, jobs: JobRunner, wanted: Wanted) -> ComparePage:
    """The comparison as far as it is made. Raises ProblemError 404 for SAEs without an index."""
    saes = list(dict.fromkeys(index["sae_id"] for index in here.store.indexes()))
    status: Status = wanted.status if wanted.status in STATUSES[wanted.side] else "kept"
    frame: dict[str, Any] = {"saes": saes, "side": wanted.side, "status": status, "page": wanted.page, "size": SIZE}
    if wanted.a is None or wanted.b is None:
        return ComparePage(a=wanted.a, b=wanted.b, corpus=None, corpora=[], job=None, **frame)
    corpora = common_corpora(here, wanted.a, wanted.b)
    corpus = wanted.corpus if wanted.corpus in corpora else next(iter(corpora), None)
    frame |= {"a": wanted.a, "b": wanted.b, "corpus": corpus, "corpora": corpora}
    if corpus is None:
        return ComparePage(job=None, **frame)
    frame["job"] = jobs.last("compare", a=wanted.a, b=wanted.b, corpus=corpus)
    found = here.store.kept_comparison(wanted.a, wanted.b, corpus)
    if found is None:
        return ComparePage(**frame)
    relation = side_of(found, wanted.side).filter(f"status = '{status}'")
    total = relation.count()
    ordered = relation.order("cosine DESC NULLS LAST, feature").limit(SIZE).offset((wanted.page - 1) * SIZE)
    columns = ordered.select("feature", "nearest", "cosine", "partner", "jaccard").rows()
    own, other = (wanted.a, wanted.b) if wanted.side == "a" else (wanted.b, wanted.a)
    rows = [
        ComparedFeature(feature=feature, nearest=nearest, **{k: row[k] for k in ("cosine", "partner", "jaccard")})
        for row, feature, nearest in zip(
            columns,
            summaries(here, [(own, row["feature"]) for row in columns], corpus),
            _nearest(here, other, [row["nearest"] for row in columns], corpus),
            strict=True,
        )
    ]
    counts = {side: found.summary()[side] for side in ("a", "b")}
    return ComparePage(threshold=found.threshold, counts=counts, total=total, rows=rows, **frame)


def compare_figure(here: Workspace, page: ComparePage) -> Figure | None:
    """The cosines of the side that is shown; None before anything is compared."""
    if page.a is None or page.b is None or page.threshold is None:
        return None
    found = here.store.kept_comparison(page.a, page.b, page.corpus)
    if found is None:
        return None
    cosines = side_of(found, page.side).select("cosine").arrow()["cosine"].drop_null().to_numpy()
    return best_cosines(cosines.astype(np.float64), page.threshold)


def side_of(found: Comparison, side: Side) -> Any:
    """The features of one SAE of a comparison."""
    return found.a if side == "a" else found.b


def common_corpora(here: Workspace, a: str, b: str) -> list[str]:
    """The corpora on which both SAEs are indexed. Raises ProblemError 404 for one that is not indexed at all."""
    of_a, of_b = ([index["corpus_id"] for index in _indexes(here, sae)] for sae in (a, b))
    return [corpus for corpus in of_a if corpus in of_b]


def _indexes(here: Workspace, sae: str) -> list[dict[str, Any]]:
    here.index(sae, None)
    return here.sae(sae)["indexes"]


def _nearest(here: Workspace, sae: str, numbers: list[int | None], corpus: str) -> list[Any]:
    found = iter(summaries(here, [(sae, number) for number in numbers if number is not None], corpus))
    return [None if number is None else next(found) for number in numbers]


@dataclass(frozen=True)
class PairView:
    """Two features side by side."""

    a: FeatureView
    b: FeatureView
    cosine: float | None
    both: int | None
    either: int | None

    @property
    def jaccard(self) -> float | None:
        """Tokens on which both are active as a share of those on which either is."""
        return None if self.both is None or not self.either else self.both / self.either

    @property
    def facts(self) -> list[tuple[str, str, str]]:
        """(statistic, of a, of b)."""
        of_a, of_b = dict(self.a.facts), dict(self.b.facts)
        names = list(of_a if len(of_a) >= len(of_b) else of_b)
        return [(name, of_a.get(name, "–"), of_b.get(name, "–")) for name in names]

    def data(self) -> dict[str, Any]:
        """As `web.models.compare.FeaturePair` describes it."""
        pair = {"cosine": self.cosine, "both": self.both, "either": self.either}
        return {"a": self.a.data(), "b": self.b.data(), **pair}


def pair_view(here: Workspace, a: tuple[str, int], b: tuple[str, int], corpus: str | None) -> PairView:
    """Two features, each as SAE and number. Raises ProblemError 404."""
    index_a, index_b = here.index(a[0], corpus), here.index(b[0], corpus)
    view_a, view_b = feature_view(here, a[1], index_a), feature_view(here, b[1], index_b)
    opened = [here.store.index(index["sae_id"], index["corpus_id"]) for index in (index_a, index_b)]
    cosine = _cosine(here, a, b)
    try:
        check_same_text(*opened)
    except StoreError:
        return PairView(view_a, view_b, cosine, None, None)
    return PairView(view_a, view_b, cosine, *fire_together(opened[0], a[1], opened[1], b[1]))


def _cosine(here: Workspace, a: tuple[str, int], b: tuple[str, int]) -> float | None:
    """Of the decoder rows, where both are there and equally wide."""
    if not (here.trained(a[0]) and here.trained(b[0])):
        return None
    rows = [decoder_row(here.path, *one) for one in (a, b)]
    return float(rows[0] @ rows[1]) if rows[0].shape == rows[1].shape else None


def feature_name(text: str) -> tuple[str, int]:
    """(SAE, number) of `SAE/12`. Raises ProblemError 422."""
    sae, slash, number = text.rpartition("/")
    if not slash or not sae or not number.isascii() or not number.isdigit() or len(number) > 9:
        raise ProblemError(422, "No feature's name", f"{text!r} names no feature.", "Write it as <SAE>/<number>.")
    return sae, int(number)
