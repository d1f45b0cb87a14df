"""Training curves."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from web.figures.frame import Figure, layout, plain


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
    shape = layout("tokens", "", log_y=log_y)
    shape["margin"].update(l=40, b=20)
    shape["xaxis"]["title"] = {"text": ""}
    shape["xaxis"].update(tickformat="~s")
    shape["yaxis"].update(tickformat="~p" if share else "~g", rangemode="tozero" if not log_y else "normal")
    if log_y:
        shape["yaxis"].update(_few_log_ticks(values))
    return plain(go.Figure(trace), shape)


def _few_log_ticks(values: Sequence[float]) -> dict[str, Any]:
    positive = [v for v in values if v and v > 0]
    if not positive or max(positive) / min(positive) > 30:
        return {"dtick": 1}
    ladder = [m * 10.0**e for e in range(-9, 9) for m in (1, 2, 5)]
    ticks = [t for t in ladder if min(positive) * 0.9 <= t <= max(positive) * 1.1]
    return {"tickvals": ticks, "ticktext": [f"{t:g}" for t in ticks]}
