"""Figures of a circuit: how much of the model it stands for."""

from functools import lru_cache
from typing import Literal

import plotly.graph_objects as go

from saebench.circuits.graph import Curve, Family
from web.figures.frame import Figure, filled, layout, plain

Judged = Literal["faithfulness", "completeness"]
STYLES = {
    "features": ("active", "solid", 2.5),
    "neurons": ("accent", "solid", 1.5),
    "heads": ("accent", "dot", 1.5),
    "random": ("muted", "dash", 1.5),
}
"""Of each family: role of its colour, dash, width."""


def curves(families: list[Curve], what: Judged) -> Figure:
    """Faithfulness or completeness over the number of nodes; a point knows the threshold that it was cut at."""
    traces = []
    for curve in families:
        points = sorted(curve.points, key=lambda point: (point.n_nodes, -point.threshold))
        traces.append(
            {
                "x": [max(point.n_nodes, 0.5) for point in points],  # none at all has a place on a log axis, too
                "y": [getattr(point, what) for point in points],
                "customdata": [[point.threshold, point.n_nodes] for point in points],
            }
        )
    return filled(_frame(tuple(curve.family for curve in families), what), *traces)


@lru_cache
def _frame(families: tuple[Family, ...], what: Judged) -> Figure:
    figure = go.Figure()
    for family in families:
        role, dash, width = STYLES[family]
        figure.add_trace(
            go.Scatter(
                name=family,
                mode="lines+markers",
                marker={"size": 4},
                line={"dash": dash, "width": width},
                hovertemplate=(
                    f"{family}, {what} %{{y:.3f}}<br>%{{customdata[1]:,}} nodes, effects from "
                    "%{customdata[0]:.3g}<extra></extra>"
                ),
                meta=role,
            )
        )
    shape = layout("nodes", what, log_y=False)
    shape["xaxis"] |= {"type": "log", "dtick": "D2"}
    shape |= {"showlegend": True, "legend": {"orientation": "h", "x": 0, "y": 1.18, "yanchor": "top"}}
    shape["margin"] = {**shape["margin"], "t": 28}
    return plain(figure, shape)
