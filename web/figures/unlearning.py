"""Dose and response of unlearning runs: what is forgotten and what is kept, over strength."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from web.figures.frame import Figure, layout, plain
from web.figures.prompt import verbatim

if TYPE_CHECKING:
    from saebench.interventions.unlearning.result import Curve, UnlearningResult

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross")
"""Treatments differ by marker, so that two colours do: one for what is to be forgotten, one for the controls."""
SIDES = (("forget", "negative", "forget right"), ("controls", "active", "controls right"))
"""(field, role of its colour, words)."""

LEAST = 0.1


def dose_response(result: "UnlearningResult") -> Figure:
    """Every treatment (solid) and baseline (dashed); the picked point is ringed."""
    figure = go.Figure()
    for i, curve in enumerate(result.curves):
        _add(figure, curve, curve.name, SYMBOLS[i % len(SYMBOLS)], dashed=curve.baseline)
    picked = result.picked
    for field, role, words in SIDES:
        value = getattr(picked.scores, field).value
        figure.add_trace(
            go.Scatter(
                x=[_place(picked.strength)], y=[value], mode="markers", name="picked", showlegend=False, meta=role,
                marker={"symbol": "circle-open", "size": 15, "line": {"width": 2}},
                hovertemplate=f"picked, {words} %{{y:.1%}}<br>{picked.treatment} at {picked.strength:g}<extra></extra>",
            )
        )  # fmt: skip
    return plain(figure, _shape())


def two_runs(results: "Sequence[UnlearningResult]") -> Figure:
    """The treatments of two runs: the first solid, the second dotted."""
    figure = go.Figure()
    for result, dash in zip(results, ("solid", "dot"), strict=True):
        for i, curve in enumerate(one for one in result.curves if not one.baseline):
            _add(figure, curve, f"{result.id}: {curve.name}", SYMBOLS[i % len(SYMBOLS)], dash=dash)
    return plain(figure, _shape())


def _add(
    figure: go.Figure, curve: "Curve", name: str, symbol: str, *, dashed: bool = False, dash: str = "solid"
) -> None:
    points = sorted(curve.points, key=lambda point: point.strength)
    for field, role, words in SIDES:
        shown = [getattr(point.scores, field) for point in points]
        about = [[point.strength, _interval(one.low, one.high)] for point, one in zip(points, shown, strict=True)]
        figure.add_trace(
            go.Scatter(
                x=[_place(point.strength) for point in points], y=[one.value for one in shown], customdata=about,
                name=verbatim(name), legendgroup=name, showlegend=field == "controls", meta=role,
                mode="lines+markers", opacity=0.7 if dashed else 1,
                marker={"symbol": symbol, "size": 6}, line={"width": 1.5, "dash": "dash" if dashed else dash},
                hovertemplate=(
                    f"{verbatim(name)} at %{{customdata[0]:.3g}}<br>{words} %{{y:.1%}}%{{customdata[1]}}<extra></extra>"
                ),
            )
        )  # fmt: skip


def _place(strength: float) -> float:
    """On a log axis nothing at all has a place, too."""
    return strength or LEAST


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{low:.0%}–{high:.0%}]"


def _shape() -> dict[str, Any]:
    shape = layout("strength", "answered right", log_y=False)
    shape["xaxis"] |= {"type": "log", "tickformat": "~g", "dtick": "D2"}
    shape["yaxis"] |= {"tickformat": ".0%", "range": [-0.04, 1.06], "dtick": 0.25}
    shape |= {"showlegend": True, "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}}
    shape["margin"] = {**shape["margin"], "t": 48}
    return shape
