"""How an SAE's features are spread: the plots above the table, and the numbers behind them."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from web.figures.bins import Bins, Grid, counted, counted_pairs, even_edges, log_edges
from web.figures.frame import Figure
from web.figures.saes import heat_map, histogram, log_histogram
from web.formats import number, percent
from web.workspace import Row, Workspace


@dataclass(frozen=True)
class Plot:
    """A plot, its caption, and what it is drawn from."""

    name: str
    caption: str
    aside: str
    figure: Figure
    drawn: Bins | Grid

    @property
    def table(self) -> pa.Table:
        """The numbers drawn: a row for each bar, or for each cell that is not empty."""
        if isinstance(self.drawn, Bins):
            edges, counts = self.drawn
            return pa.table({"from": edges[:-1], "to": edges[1:], "features": counts})
        x, y, cells = self.drawn
        j, i = np.nonzero(cells)
        names = ("density_from", "density_to", "max_activation_from", "max_activation_to", "features")
        return pa.table(dict(zip(names, (x[i], x[i + 1], y[j], y[j + 1], cells[j, i]), strict=True)))


def spread(here: Workspace, index: Row) -> list[Plot]:
    """The plots of an index; what an import does not know is not drawn. Kept: an index does not change."""
    return _kept(here, index["path"], index["sae_id"], index["corpus_id"])


def density_plot(density: Float[np.ndarray, " features"]) -> Plot | None:
    """Features by the share of tokens they fire on; the dead are counted in the caption, not drawn."""
    alive = density[density > 0]
    if not alive.size:
        return None
    bins = counted(alive, log_edges(alive))
    figure = log_histogram(bins, column="density", x="density (share of tokens)")
    return Plot("density", "Density", f"median {percent(float(np.median(alive)))} of tokens", figure, bins)


def strength_plot(density: Float[np.ndarray, " features"], largest: Float[np.ndarray, " features"]) -> Plot | None:
    """Features by density and largest activation."""
    known = (density > 0) & (largest > 0)
    if not known.any():
        return None
    grid = counted_pairs(density[known], largest[known])
    figure = heat_map(
        grid,
        columns=("density", "max"),
        x="density (share of tokens)",
        y="max activation",
        names=("density", "max"),
    )
    return Plot("strength", "Density and max", f"median max {number(float(np.median(largest[known])))}", figure, grid)


def direction_plot(values: Float[np.ndarray, " features"], name: str, caption: str, column: str, x: str) -> Plot | None:
    """Features by a number of their encoder and decoder directions."""
    known = values[np.isfinite(values)]
    if not known.size:
        return None
    bins = counted(known, even_edges(known))
    figure = histogram(bins, column=column, x=x, name=column)
    return Plot(name, caption, f"median {number(float(np.median(known)))}", figure, bins)


@lru_cache(maxsize=32)
def _kept(here: Workspace, path: str, sae_id: str, corpus: str) -> list[Plot]:
    features = here.features({"path": path, "sae_id": sae_id, "corpus_id": corpus})

    def column(name: str) -> Float[np.ndarray, " features"]:
        return features[name].to_numpy().astype(np.float64)

    norm, cosine = column("decoder_norm"), column("encoder_decoder_cosine")
    plots = [
        density_plot(column("density")),
        strength_plot(column("density"), column("max_activation")),
        direction_plot(norm, "norms", "Decoder norm", "norm", "norm of the decoder direction"),
        direction_plot(cosine, "cosines", "Encoder · decoder", "cosine", "cosine of encoder and decoder"),
    ]
    return [plot for plot in plots if plot]
