"""Which features fire where in a text."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from web.figures.frame import Figure, layout, plain
from web.tokens import OPACITY_LEVELS, level

MOST_NAMED = 60
"""Tokens: beyond that many their texts would run into each other below the axis."""


def activity_map(
    features: Sequence[tuple[int, str]],
    tokens: Sequence[str],
    activations: Float[np.ndarray, "features tokens"],
    maxima: Float[np.ndarray, " features"],
    chosen: int | None,
) -> Figure:
    """A heat map of features (number, what is said of them) by tokens, shaded as highlighted text is: by the logarithm
    of each activation's share of the feature's own maximum. `chosen` is marked by a line on either side.
    """
    shades = [
        [None if (step := level(float(value), float(top))) is None else (step + 1) / OPACITY_LEVELS for value in row]
        for row, top in zip(activations, maxima, strict=True)
    ]
    tokens = [verbatim(token) for token in tokens]
    about = [
        [[number, i, f"{value:.3g}", verbatim(said[:80]), tokens[i]] for i, value in enumerate(row)]
        for (number, said), row in zip(features, activations, strict=True)
    ]
    trace = go.Heatmap(
        z=shades,
        x=list(range(len(tokens))),
        y=[str(number) for number, _ in features],
        customdata=about,
        zmin=0,
        zmax=1,
        showscale=False,
        xgap=1,
        ygap=1,
        hoverongaps=False,
        hovertemplate="%{customdata[0]}: %{customdata[3]}<br>%{customdata[2]} at ‘%{customdata[4]}’<extra></extra>",
        meta="active",
    )
    shape = layout("", "", log_y=False)
    shape["margin"].update(l=48, b=64 if len(tokens) <= MOST_NAMED else 28)
    shape["xaxis"].update(showline=False, ticks="", range=[-0.5, len(tokens) - 0.5])
    if len(tokens) <= MOST_NAMED:
        shape["xaxis"].update(tickvals=list(range(len(tokens))), ticktext=list(tokens), tickangle=-60, nticks=0)
    shape["yaxis"] = {"type": "category", "autorange": "reversed", "showgrid": False, "ticks": "", "dtick": 1}
    if chosen is not None:
        sides = {"type": "rect", "xref": "x", "yref": "paper", "y0": 0, "y1": 1, "line": {"width": 1}}
        shape["shapes"] = [{**sides, "x0": chosen - 0.5, "x1": chosen + 0.5}]
    return plain(go.Figure(trace), shape)


def verbatim(text: str) -> str:
    """Text that plotly shows as it is: it reads some HTML in labels."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
