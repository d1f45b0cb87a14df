"""Figures of an SAE's features together."""

import numpy as np
import plotly.graph_objects as go

from web.figures.frame import Figure, layout, plain


def density_bins(densities: np.ndarray, per_decade: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """(edges, counts) of the densities above 0 in equal steps of log10; both empty where all features are dead."""
    alive = np.log10(densities[densities > 0])
    if not alive.size:
        return np.zeros(0), np.zeros(0, np.int64)
    low, high = np.floor(alive.min() * per_decade), np.floor(alive.max() * per_decade) + 1
    exponents = np.arange(low, high + 1) / per_decade
    bins = np.clip(np.floor(alive * per_decade) - low, 0, len(exponents) - 2).astype(np.int64)
    return 10**exponents, np.bincount(bins, minlength=len(exponents) - 1)


def density_histogram(densities: np.ndarray) -> Figure:
    """Features by the share of tokens they fire on (log10); dead features are counted in the caption, not drawn."""
    edges, counts = density_bins(densities)
    exponents = np.log10(edges)
    trace = go.Bar(
        x=((exponents[:-1] + exponents[1:]) / 2).tolist(),
        y=counts.tolist(),
        width=(np.diff(exponents) * 0.94).tolist(),
        customdata=np.stack([edges[:-1], edges[1:]], 1).tolist(),
        hovertemplate="density %{customdata[0]:.2e} – %{customdata[1]:.2e}<br>%{y:,} features<extra></extra>",
        meta="active",
    )
    shape = layout("density (share of tokens)", "features", log_y=False)
    decades = range(int(np.floor(exponents.min(initial=0))), int(np.ceil(exponents.max(initial=0))) + 1)
    words = {0: "100%", -1: "10%", -2: "1%", -3: "0.1%", -4: "0.01%"}
    shape["xaxis"].update(tickvals=list(decades), ticktext=[words.get(d, "10⁻" + "⁰¹²³⁴⁵⁶⁷⁸⁹"[-d]) for d in decades])
    return plain(go.Figure(trace), shape)
