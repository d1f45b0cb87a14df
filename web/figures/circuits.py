"""Figures of a circuit: how much of the model it stands for."""

from typing import Literal

import plotly.graph_objects as go

from saebench.circuits.graph import Curve
from web.figures.frame import Figure, layout, plain

STYLES = {
    "features": ("active", "solid", 2.5),
    "neurons": ("accent", "solid", 1.5),
    "heads": ("accent", "dot", 1.5),
    "random": ("muted", "dash", 1.5),
}
"""Of each family: role of its colour, dash, width."""


def curves(families: list[Curve], what: Literal["faithfulness", "completeness"]) -> Figure:
    """Faithfulness or completeness over the number of nodes; a point knows the threshold that it was cut at."""
    figure = go.Figure()
    for curve in families:
        role, dash, width = STYLES[curve.family]
        points = sorted(curve.points, key=lambda point: (point.n_nodes, -point.threshold))
        figure.add_trace(
            go.Scatter(
                x=[max(point.n_nodes, 0.5) for point in points],  # none at all has a place on a log axis, too
                y=[getattr(point, what) for point in points],
                customdata=[[point.threshold, point.n_nodes] for point in points],
                name=curve.family,
                mode="lines+markers",
                marker={"size": 4},
                line={"dash": dash, "width": width},
                hovertemplate=(
                    f"{curve.family}, {what} %{{y:.3f}}<br>%{{customdata[1]:,}} nodes, effects from "
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
