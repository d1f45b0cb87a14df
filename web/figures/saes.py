"""Figures of an SAE's features together. A click on a bar or cell filters by its bin: `layout.meta` names the columns,
each point's `customdata` holds the bin's edges, two for each column.
"""

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from web.figures.bins import Bins, Grid
from web.figures.frame import Figure, layout, plain

_SHARES = {0: "100%", -1: "10%", -2: "1%", -3: "0.1%", -4: "0.01%"}


def log_histogram(bins: Bins, *, column: str, x: str) -> Figure:
    """Features by a share of tokens, on a log axis."""
    figure = _histogram(np.log10(bins.edges), bins, column=column, x=x, name="density")
    figure["layout"]["xaxis"].update(_decades(bins.edges, shares=True))
    return figure


def histogram(bins: Bins, *, column: str, x: str, name: str) -> Figure:
    """Features by a number, on a linear axis."""
    return _histogram(bins.edges, bins, column=column, x=x, name=name)


def heat_map(grid: Grid, *, columns: tuple[str, str], x: str, y: str, names: tuple[str, str]) -> Figure:
    """Features by two numbers, both on log axes; the colour is the logarithm of how many there are.

    Without gaps between cells plotly would draw an image with a style attribute, which the page's policy refuses.
    """
    middles = [(np.log10(edges[:-1]) + np.log10(edges[1:])) / 2 for edges in (grid.x, grid.y)]
    cells = [
        [[*grid.x[i : i + 2].tolist(), *grid.y[j : j + 2].tolist(), count] if count else None for i, count in row]
        for j, row in enumerate(map(enumerate, grid.counts.tolist()))
    ]
    most = max(1.0, float(np.log10(grid.counts.max())))
    trace = go.Heatmap(
        x=middles[0].tolist(),
        y=middles[1].tolist(),
        z=[[float(np.log10(count)) if count else None for count in row] for row in grid.counts.tolist()],
        zmin=-most / 4,
        zmax=most,
        xgap=0.01,
        ygap=0.01,
        customdata=cells,
        hovertemplate=f"{names[0]} %{{customdata[0]:.3g}} – %{{customdata[1]:.3g}}<br>"
        f"{names[1]} %{{customdata[2]:.3g}} – %{{customdata[3]:.3g}}<br>%{{customdata[4]:,}} features<extra></extra>",
        hoverongaps=False,
        showscale=False,
        meta="active",
    )
    shape = layout(x, y, log_y=False)
    shape["xaxis"].update(_decades(grid.x, shares=True))
    shape["yaxis"].update(_decades(grid.y, shares=False), rangemode="normal")
    return {**(figure := plain(go.Figure(trace), shape)), "layout": {**figure["layout"], "meta": list(columns)}}


def _histogram(drawn: Float[np.ndarray, " bins+1"], bins: Bins, *, column: str, x: str, name: str) -> Figure:
    """Bars between the edges as they are drawn."""
    trace = go.Bar(
        x=((drawn[:-1] + drawn[1:]) / 2).tolist(),
        y=bins.counts.tolist(),
        width=(np.diff(drawn) * 0.94).tolist(),
        customdata=np.stack([bins.edges[:-1], bins.edges[1:]], 1).tolist(),
        hovertemplate=f"{name} %{{customdata[0]:.3g}} – %{{customdata[1]:.3g}}<br>%{{y:,}} features<extra></extra>",
        meta="active",
    )
    shape = layout(x, "features", log_y=False)
    margin = 0.02 * (drawn[-1] - drawn[0])
    shape["xaxis"]["range"] = [float(drawn[0] - margin), float(drawn[-1] + margin)]
    figure = plain(go.Figure(trace), shape)
    figure["layout"]["meta"] = [column]
    return figure


def _decades(edges: Float[np.ndarray, " bins+1"], *, shares: bool) -> dict[str, list]:
    """Ticks of an axis of log10: at powers of ten, or at 1, 2 and 5 times them where there are few."""
    low, high = np.log10(edges[0]), np.log10(edges[-1])
    factors = (1,) if high - low > 2 else (1, 3) if high - low > 1 else (1, 2, 5)
    ticks = [(d, f) for d in range(int(np.floor(low)) - 1, int(np.ceil(high)) + 1) for f in factors]
    inside = [(d, f) for d, f in ticks if low <= d + np.log10(f) <= high] or ticks
    text = [
        _SHARES.get(d, "10⁻" + "⁰¹²³⁴⁵⁶⁷⁸⁹"[-d]) if shares and f == 1 and -9 <= d <= 0 else f"{f * 10.0**d:g}"
        for d, f in inside
    ]
    return {"tickvals": [float(d + np.log10(f)) for d, f in inside], "ticktext": text}
