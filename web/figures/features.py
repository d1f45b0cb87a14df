"""Figures of one feature."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from web.figures.frame import Figure, layout, plain


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
    return plain(go.Figure(trace), layout(x, what, log_y=bool(spans_decades)))


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
    return plain(figure, layout(x, what, log_y=True))
