"""Figures of one feature."""

from functools import lru_cache
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int

from web.figures.frame import Figure, filled, layout, plain

_BIN = "%{customdata[0]:.3g} – %{customdata[1]:.3g}<br>%{y:,} "


@lru_cache
def _bars(x: str, what: str, log_y: bool, *roles: str) -> Figure:
    """One trace of bars for each role of a colour."""
    traces = [go.Bar(hovertemplate=f"{_BIN}{what}<extra></extra>", meta=role) for role in roles]
    return plain(go.Figure(traces), layout(x, what, log_y=log_y))


def bars(edges: Float[np.ndarray, " bins+1"], counts: Int[np.ndarray, " bins"], *, x: str, what: str) -> Figure:
    """A histogram with bins `edges[i]..edges[i+1]`; counts on a log axis when they span decades."""
    spans_decades = bool(counts.any() and counts.max() > 100 * np.median(counts[counts > 0]))
    return filled(_bars(x, what, spans_decades, "active"), _values(edges, counts))


def signed_bars(edges: Float[np.ndarray, " bins+1"], counts: Int[np.ndarray, " bins"], *, x: str, what: str) -> Figure:
    """A histogram around zero: bins below in the negative role, bins above in the active one."""
    below = int(np.searchsorted(edges[:-1] + edges[1:], 0))
    traces = _values(edges[: below + 1], counts[:below]), _values(edges[below:], counts[below:])
    return filled(_bars(x, what, True, "negative", "active"), *traces)


def _values(edges: np.ndarray, heights: np.ndarray) -> dict[str, Any]:
    left, right = edges[:-1].astype(float), edges[1:].astype(float)
    return {
        "x": ((left + right) / 2).tolist(),
        "y": heights.tolist(),
        "width": ((right - left) * 0.94).tolist(),
        "customdata": np.stack([left, right], 1).tolist(),
    }
