"""A map of an SAE's decoder rows: UMAP (McInnes et al. 2018, arXiv:1802.03426) by cosine distance, to the plane.

Decisions:
- The neighbours that UMAP starts from are exact: the product of all rows is cheaper than its own approximate search up
  to some hundred thousand features, and the same each time.
- It starts from the first two principal components and one seed, so that the same weights give the same map.
"""

import re
import warnings
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from saebench.errors import UserError
from saebench.indexing.config import MapConfig

Progress = Callable[[int], None]
Neighbours = tuple[Int[np.ndarray, "m k"], Float[np.ndarray, "m k"]]
"""(indices, distances), each row itself first; a distance is 1 − cosine. As UMAP wants them."""
FEWEST = 4
_CELLS_AT_ONCE = 1 << 25


def nearest_first(rows: Float[np.ndarray, "m d"], k: int, on_progress: Progress = lambda _: None) -> Neighbours:
    """Each row itself and the k − 1 nearest to it by cosine (all, if there are fewer rows), nearest first.

    Raises:
        UserError: there are too few rows to draw.
    """
    if len(rows) < FEWEST:
        raise UserError(f"a map needs at least {FEWEST} features, this SAE has {len(rows)}")
    k = min(k, len(rows) - 1)
    indices, distances = np.zeros((len(rows), k), np.int32), np.zeros((len(rows), k), np.float32)
    step = max(_CELLS_AT_ONCE // len(rows), 1)
    for first in range(0, len(rows), step):
        distance = 1 - rows[first : first + step] @ rows.T
        own = np.arange(len(distance))
        distance[own, first + own] = -1  # itself first, whatever rounding says of its twins
        near = np.argpartition(distance, k - 1, axis=1)[:, :k]
        order = np.take_along_axis(distance, near, 1).argsort(axis=1, kind="stable")
        near = np.take_along_axis(near, order, 1)
        indices[first : first + step] = near
        distances[first : first + step] = np.take_along_axis(distance, near, 1).clip(0)
        on_progress(min(first + step, len(rows)))
    return indices, distances


def map_of(
    rows: Float[np.ndarray, "m d"], neighbours: Neighbours, config: MapConfig, on_epoch: Progress = lambda _: None
) -> Float[np.ndarray, "m 2"]:
    """A point for each decoder row.

    Args:
        rows: decoder rows of length 1, or zero.
        neighbours: of these, as `nearest_first` gives them.
        config: how it is drawn.
        on_epoch: told how many of `config.epochs` rounds of layout are done.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a seed means one thread, and that no new rows can be placed later
        import umap

        model = umap.UMAP(
            n_neighbors=neighbours[0].shape[1], min_dist=config.min_dist, metric="cosine", init="pca",
            n_epochs=config.epochs, random_state=config.seed, n_jobs=1, precomputed_knn=(*neighbours, None),
            tqdm_kwds={"disable": False, "file": _Epochs(on_epoch), "bar_format": "{n}", "mininterval": 0.2},
        )  # fmt: skip
        return level(np.asarray(model.fit_transform(rows), np.float32))


def level(points: Float[np.ndarray, "m 2"]) -> Float[np.ndarray, "m 2"]:
    """Points turned about their mean so that they spread most from left to right: pages are wider than high."""
    centred = points - points.mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2]
    return centred @ axes.T


class _Epochs:
    """The file that UMAP's progress bar writes to; it writes numbers."""

    def __init__(self, on_epoch: Progress) -> None:
        self._on_epoch = on_epoch

    def write(self, text: str) -> None:
        """A number of epochs, among control characters."""
        if numbers := re.findall(r"\d+", text):
            self._on_epoch(int(numbers[-1]))

    def flush(self) -> None:
        """Nothing is held back."""
