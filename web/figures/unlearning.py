"""Dose and response of unlearning runs: what is forgotten, what is kept and what it costs, over strength.

Decisions: a treatment has one colour and one marker in all figures and tables. What has no strength, or one in other
units, stands apart at the right of a figure, on no axis with the others; the last figure has no strengths at all, so
that everything can be compared there.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import plotly.graph_objects as go

from saebench.wording import SET, label, strength_of
from web.figures.frame import Figure, layout, plain
from web.figures.prompt import verbatim

if TYPE_CHECKING:
    from saebench.interventions.scores import DosePoint, Scores
    from saebench.interventions.unlearning import UnlearningResult
    from saebench.interventions.unlearning.result import Curve

MARKS = {
    "clamp": ("circle", "●"),
    "clamp_prime": ("square", "■"),
    "guarded": ("diamond", "◆"),
    "zero": ("x", "✕"),
    "scale": ("triangle-up", "▲"),
    "project": ("triangle-down", "▼"),
    "set": ("star", "★"),
    "random": ("circle-open", "○"),
    "direction": ("square-open", "□"),
    "rmu": ("diamond-open", "◇"),
}
"""(plotly's symbol, the same as text) of treatments and baselines; the stylesheet has their colours, `--series-<name>`.
"""
APART = ("zero", "set", "rmu")
"""Those whose strength is nothing, or a coefficient of training."""
NARROWEST = 1 / 14
"""Share of an axis that two ticks are apart at least."""


class Panel(NamedTuple):
    """A figure of one score: its name in `Scores`, what is said of it, whether it is a share of questions."""

    name: str
    title: str
    share: bool


PANELS = (
    Panel("forget", "Forget questions still right", share=True),
    Panel("controls", "Controls still right", share=True),
    Panel("ce_added", "Cross-entropy added on retained text, nats", share=False),
)
TRADE = "trade"
"""The figure of forgotten against kept."""


def series_name(name: str) -> str:
    """The key in `MARKS` of a curve's name: all sets of interventions share one."""
    return SET if name.startswith(f"{SET}:") else name


class Series(NamedTuple):
    """A curve as a figure draws it; `dash` tells those of two runs, and baselines, apart."""

    curve: "Curve"
    name: str
    dash: str


def series_of(result: "UnlearningResult") -> list[Series]:
    """Every treatment (solid) and baseline (dashed) of a run."""
    return [Series(curve, label(curve.name), "dash" if curve.baseline else "solid") for curve in result.curves]


def dose_response(result: "UnlearningResult") -> dict[str, tuple[str, Figure]]:
    """(title, figure) by name: every score over strength, and forgotten against kept; what was picked is ringed."""
    picked = result.picked
    return _figures(series_of(result), [(picked.treatment, picked.strength, picked.scores)])


def two_runs(results: "Sequence[UnlearningResult]") -> dict[str, tuple[str, Figure]]:
    """The same of the treatments of two runs: the first solid, the second dotted."""
    series = [
        Series(curve, f"{result.id}: {label(curve.name)}", dash)
        for result, dash in zip(results, ("solid", "dot"), strict=True)
        for curve in result.curves
        if not curve.baseline
    ]
    return _figures(series, [(one.picked.treatment, one.picked.strength, one.picked.scores) for one in results])


def _figures(series: list[Series], picked: "list[tuple[str, float, Scores]]") -> dict[str, tuple[str, Figure]]:
    shown = [panel for panel in PANELS if any(_of(panel, p.scores) for one in series for p in one.curve.points)]
    figures = {panel.name: (panel.title, _dose(panel, series, picked)) for panel in shown}
    return {**figures, TRADE: ("Forgotten against kept", _trade(series, picked))}


def _dose(panel: Panel, series: list[Series], picked: "list[tuple[str, float, Scores]]") -> Figure:
    figure = go.Figure()
    values = [_value(panel, p.scores) for one in series for p in one.curve.points if _of(panel, p.scores)]
    across, place = (_shares(), float) if panel.share else cost_axis(values)
    apart = [name for name in APART if any(series_name(one.curve.name) == name for one in series)]
    for one in series:
        points = [point for point in one.curve.points if _of(panel, point.scores)]
        name = series_name(one.curve.name)
        aside = name in APART
        x: list[Any] = [_short(name)] * len(points) if aside else [point.strength for point in points]
        y = [place(_value(panel, point.scores)) for point in points]
        _add(figure, one, points, x, y, "markers" if aside else "lines+markers", axis="x2" if aside else "x")
    for name, strength, own in picked:
        if _of(panel, own):
            aside = series_name(name) in APART
            at = _short(series_name(name)) if aside else strength
            _ring(figure, name, at, place(_value(panel, own)), axis="x2" if aside else "x")
    dosed = [one.curve for one in series if series_name(one.curve.name) not in APART]
    doses = [point.strength for curve in dosed for point in curve.points]
    shape = layout("strength", "share of questions" if panel.share else "nats per token", log_y=False)
    shape["xaxis"] |= dose_axis(doses)
    shape["yaxis"] |= across
    if apart:
        line = {key: shape["xaxis"][key] for key in ("showgrid", "zeroline", "showline", "ticks", "ticklen")}
        shape["xaxis2"] = {
            **line, "type": "category", "domain": [0.8, 1], "anchor": "y", "range": [-0.6, len(apart) - 0.4],
            "categoryarray": [_short(name) for name in apart],
        }  # fmt: skip
        shape["xaxis"] |= {"domain": [0, 0.74], "visible": bool(doses)}
    return plain(figure, shape)


def _trade(series: list[Series], picked: "list[tuple[str, float, Scores]]") -> Figure:
    figure = go.Figure()
    for one in series:
        points = one.curve.points
        x, y = ([getattr(point.scores, side).value for point in points] for side in ("controls", "forget"))
        _add(figure, one, points, x, y, "lines+markers" if len(points) > 1 else "markers", axis="x")
    for name, _, own in picked:
        _ring(figure, name, own.controls.value, own.forget.value, axis="x")
    shape = layout("controls still right", "forget questions still right", log_y=False)
    shape["xaxis"] |= _shares()
    shape["yaxis"] |= _shares()
    return plain(figure, shape)


def _add(
    figure: go.Figure, one: Series, points: "Iterable[DosePoint]", x: list[Any], y: list[float], mode: str, axis: str
) -> None:
    own = series_name(one.curve.name)
    about = []
    for point in points:
        said = strength_of(one.curve.name, point.strength)
        about.append([f", strength {said}" if said else "", *(_said(point.scores, panel) for panel in PANELS)])
    figure.add_trace(
        go.Scatter(
            x=x, y=y, customdata=about, mode=mode, name=verbatim(one.name), meta=f"series-{own}", xaxis=axis,
            cliponaxis=False, marker={"symbol": MARKS[own][0], "size": 7}, line={"width": 1.5, "dash": one.dash},
            hovertemplate=(
                f"{verbatim(one.name)}%{{customdata[0]}}<br>forget right %{{customdata[1]}}"
                "<br>controls right %{customdata[2]}<br>CE added %{customdata[3]}<extra></extra>"
            ),
        )
    )  # fmt: skip


def _ring(figure: go.Figure, name: str, x: Any, y: float, *, axis: str) -> None:
    figure.add_trace(
        go.Scatter(
            x=[x], y=[y], mode="markers", name="picked", meta=f"series-{series_name(name)}", xaxis=axis,
            cliponaxis=False, hoverinfo="skip",
            marker={"symbol": "circle-open", "size": 15, "line": {"width": 2}},
        )
    )  # fmt: skip


def dose_axis(doses: Iterable[float]) -> dict[str, Any]:
    """An axis whose ticks are the strengths that exist: by powers of two where none is 0 and they span some."""
    known = sorted(set(doses))
    log = bool(known) and known[0] > 0 and known[-1] >= 4 * known[0]
    places = [math.log2(one) for one in known] if log else known
    apart = NARROWEST * (places[-1] - places[0]) if places else 0
    ticks: list[int] = []
    for number, place in enumerate(places):
        if not ticks or place - places[ticks[-1]] >= apart:
            ticks.append(number)
    named = {"tickvals": [known[i] for i in ticks], "ticktext": [f"{known[i]:g}" for i in ticks]}
    return {"type": "log" if log else "linear", "tickmode": "array", **named}


def _short(name: str) -> str:
    """What stands below the axis of those that stand apart."""
    return "sets" if name == SET else label(name)


def _of(panel: Panel, own: "Scores") -> Any:
    return getattr(own, panel.name)


def _value(panel: Panel, own: "Scores") -> float:
    value: float = _of(panel, own).value
    return value


def _said(own: "Scores", panel: Panel) -> str:
    found = _of(panel, own)
    if found is None:
        return "not measured"
    shown = (lambda value: f"{value:.0%}") if panel.share else (lambda value: f"{value:.3g}")
    return shown(found.value) + ("" if found.low is None else f" [{shown(found.low)} to {shown(found.high)}]")


def _shares() -> dict[str, Any]:
    return {"tickformat": ".0%", "range": [-0.04, 1.06], "dtick": 0.25, "tickmode": "linear", "rangemode": "normal"}


def cost_axis(values: Sequence[float]) -> tuple[dict[str, Any], Callable[[float], float]]:
    """An axis of costs by powers of ten, and where a cost stands on it: none at all, or a gain, at its foot."""
    above = [value for value in values if value > 0]
    if not above:
        return {}, float
    low, high = math.floor(math.log10(min(above))), math.ceil(math.log10(max(above)))
    foot = 10.0**low / 3
    decades = list(range(low, high + 1))
    named = [("≤ 0", foot)] if min(values) <= 0 else []
    named += [(f"{10.0**decade:g}", 10.0**decade) for decade in decades]
    least = math.log10(foot if min(values) <= 0 else min(above))
    axis = {
        "type": "log", "tickmode": "array", "ticktext": [name for name, _ in named], "rangemode": "normal",
        "tickvals": [value for _, value in named], "range": [least - 0.15, math.log10(max(above)) + 0.15],
    }  # fmt: skip
    return axis, lambda value: max(value, foot)
