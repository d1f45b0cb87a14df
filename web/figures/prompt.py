"""Which features fire where in a text."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from web.figures.frame import Figure, layout, plain
from web.tokens import OPACITY_LEVELS, level

MOST_NAMED = 60
"""Tokens: beyond that many their texts would run into each other below the axis."""


class MapRow(NamedTuple):
    """A feature in the map: its number, what is said of it, its activations and its maximum; whether interventions set
    it, and whether these are its activations without them.
    """

    feature: int
    said: str
    activations: Float[np.ndarray, " tokens"]
    maximum: float
    set: bool = False
    without: bool = False


def activity_map(rows: Sequence[MapRow], tokens: Sequence[str], chosen: int | None, *, applied: bool) -> Figure:
    """A heat map of features by tokens. `chosen` is marked by a line on either side.

    As highlighted text is, it is shaded by the logarithm of each activation's share of the feature's own maximum. Under
    interventions (`applied`) activations go far beyond that, and all would be as dark as can be: there it is shaded by
    the square root, up to the largest share of a feature that is not itself set. What those that are set would be
    without them has rows of its own, in another colour.
    """
    tokens = [verbatim(token) for token in tokens]
    figure = go.Figure()
    top = largest_share(rows) if applied else 1.0
    for kind in (True, False):
        places = [place for place, row in enumerate(rows) if row.without == kind]
        if not places:
            continue
        own = [rows[place] for place in places]
        figure.add_trace(
            go.Heatmap(
                z=[_shades(row, 1.0 if kind else top, root=applied) for row in own],
                x=list(range(len(tokens))),
                y=places,
                customdata=[_about(row, tokens) for row in own],
                zmin=0,
                zmax=1,
                showscale=False,
                xgap=1,
                ygap=1,
                hoverongaps=False,
                hovertemplate="%{customdata[0]}: %{customdata[3]}<br>%{customdata[2]} at ‘%{customdata[4]}’"
                f"{' without the interventions' if kind else ''}<extra></extra>",
                meta="accent" if kind else "active",
            )
        )
    shape = layout("", "", log_y=False)
    shape["margin"].update(l=64 if applied else 48, b=64 if len(tokens) <= MOST_NAMED else 28)
    shape["xaxis"].update(showline=False, ticks="", range=[-0.5, len(tokens) - 0.5])
    if len(tokens) <= MOST_NAMED:
        shape["xaxis"].update(tickvals=list(range(len(tokens))), ticktext=list(tokens), tickangle=-60, nticks=0)
    names = [f"{row.feature} set" if row.without else str(row.feature) for row in rows]
    shape["yaxis"] = {
        "range": [len(rows) - 0.5, -0.5], "tickvals": list(range(len(rows))), "ticktext": names,
        "showgrid": False, "zeroline": False, "ticks": "",
    }  # fmt: skip
    if chosen is not None:
        sides = {"type": "rect", "xref": "x", "yref": "paper", "y0": 0, "y1": 1, "line": {"width": 1}}
        shape["shapes"] = [{**sides, "x0": chosen - 0.5, "x1": chosen + 0.5}]
    return plain(figure, shape)


def largest_share(rows: Sequence[MapRow]) -> float:
    """The largest activation of a feature that is not set, as a share of its own maximum; 1 at least."""
    shares = [float(row.activations.max(initial=0.0)) / row.maximum for row in rows if not row.set and row.maximum > 0]
    return max([1.0, *shares])


def _shades(row: MapRow, top: float, *, root: bool) -> list[float | None]:
    if root:
        shares = row.activations / (row.maximum * top) if row.maximum > 0 else np.zeros(len(row.activations))
        return [None if share <= 0 else float(min(share, 1.0)) ** 0.5 for share in shares]
    steps = (level(float(value), row.maximum) for value in row.activations)
    return [None if step is None else (step + 1) / OPACITY_LEVELS for step in steps]


def _about(row: MapRow, tokens: Sequence[str]) -> list[list[str | int]]:
    """What a cell says: feature, token's number, activation, what the feature is said to be, the token."""
    said = verbatim(row.said[:80])
    return [[row.feature, i, f"{value:.3g}", said, tokens[i]] for i, value in enumerate(row.activations)]


def verbatim(text: str) -> str:
    """Text that plotly shows as it is: it reads some HTML in labels."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
