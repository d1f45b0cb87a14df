"""Plotly figures as data: what is drawn and in which role, never in which colour.

Each trace names the role of its colour in `meta` (active, negative, accent, muted); static/figures.js puts the page's
own colours and font in, so that one figure serves both themes. Captions are text beside the figure.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

Figure = dict[str, Any]


def bars(edges: Sequence[float], counts: Sequence[int], *, x: str, what: str) -> Figure:
    """A histogram with bins `edges[i]..edges[i+1]`; counts on a log axis when they span decades."""
    left, right = np.asarray(edges[:-1], float), np.asarray(edges[1:], float)
    heights = np.asarray(counts, float)
    spans_decades = heights.any() and heights.max() > 100 * np.median(heights[heights > 0])
    trace = go.Bar(
        x=((left + right) / 2).tolist(),
        y=heights.tolist(),
        width=((right - left) * 0.94).tolist(),
        customdata=np.stack([left, right], 1).tolist(),
        hovertemplate="%{customdata[0]:.3g} – %{customdata[1]:.3g}<br>%{y:,} " + what + "<extra></extra>",
        meta="active",
    )
    return _plain(go.Figure(trace), _layout(x, what, log_y=bool(spans_decades)))


def signed_bars(edges: Sequence[float], counts: Sequence[int], *, x: str, what: str) -> Figure:
    """A histogram around zero: bins below in the negative role, bins above in the active one."""
    left, right = np.asarray(edges[:-1], float), np.asarray(edges[1:], float)
    heights = np.asarray(counts, float)
    middle = (left + right) / 2
    figure = go.Figure()
    for role, chosen in (("negative", middle < 0), ("active", middle >= 0)):
        figure.add_trace(
            go.Bar(
                x=middle[chosen].tolist(),
                y=heights[chosen].tolist(),
                width=((right - left)[chosen] * 0.94).tolist(),
                customdata=np.stack([left[chosen], right[chosen]], 1).tolist(),
                hovertemplate="%{customdata[0]:.3g} – %{customdata[1]:.3g}<br>%{y:,} " + what + "<extra></extra>",
                meta=role,
            )
        )
    return _plain(figure, _layout(x, what, log_y=True))


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
    layout = _layout("density (share of tokens)", "features", log_y=False)
    decades = range(int(np.floor(exponents.min(initial=0))), int(np.ceil(exponents.max(initial=0))) + 1)
    words = {0: "100%", -1: "10%", -2: "1%", -3: "0.1%", -4: "0.01%"}
    layout["xaxis"].update(tickvals=list(decades), ticktext=[words.get(d, "10⁻" + "⁰¹²³⁴⁵⁶⁷⁸⁹"[-d]) for d in decades])
    return _plain(go.Figure(trace), layout)


def curve(tokens: Sequence[float], values: Sequence[float], *, y: str, log_y: bool, share: bool = False) -> Figure:
    """One training curve against tokens seen."""
    shown = "%{y:.2%}" if share else "%{y:.4g}"
    trace = go.Scatter(
        x=list(tokens),
        y=list(values),
        mode="lines",
        line={"width": 1.5},
        hovertemplate=f"{y} {shown}<br>%{{x:,.4s}} tokens<extra></extra>",
        meta="accent",
    )
    layout = _layout("tokens", "", log_y=log_y)
    layout["margin"].update(l=40, b=20)
    layout["xaxis"]["title"] = {"text": ""}
    layout["xaxis"].update(tickformat="~s")
    layout["yaxis"].update(tickformat="~p" if share else "~g", rangemode="tozero" if not log_y else "normal")
    if log_y:
        layout["yaxis"].update(_few_log_ticks(values))
    return _plain(go.Figure(trace), layout)


def _few_log_ticks(values: Sequence[float]) -> dict[str, Any]:
    positive = [v for v in values if v and v > 0]
    if not positive or max(positive) / min(positive) > 30:
        return {"dtick": 1}
    ladder = [m * 10.0**e for e in range(-9, 9) for m in (1, 2, 5)]
    ticks = [t for t in ladder if min(positive) * 0.9 <= t <= max(positive) * 1.1]
    return {"tickvals": ticks, "ticktext": [f"{t:g}" for t in ticks]}


def _layout(x: str, y: str, *, log_y: bool) -> dict[str, Any]:
    axis = {"showgrid": False, "zeroline": False, "nticks": 5}
    return {
        "margin": {"l": 52, "r": 8, "t": 8, "b": 36},
        "showlegend": False,
        "bargap": 0,
        "hovermode": "closest",
        "dragmode": "zoom",
        "xaxis": {
            **axis,
            "title": {"text": x, "standoff": 4, "font": {"size": 11}},
            "showline": True,
            "ticks": "outside",
            "ticklen": 3,
        },
        "yaxis": {
            **axis,
            "title": {"text": y, "standoff": 6, "font": {"size": 11}},
            "showgrid": True,
            "type": "log" if log_y else "linear",
            "nticks": 4,
            **({"dtick": 1} if log_y else {"rangemode": "tozero"}),
        },
    }


def _plain(figure: go.Figure, layout: dict[str, Any]) -> Figure:
    """The figure as plain data, without plotly's default template (colours come from the page)."""
    figure.update_layout(template="none", **layout)
    plain = figure.to_plotly_json()
    plain["layout"].pop("template", None)
    return plain
