"""The frontier of a dream: activation over cross-entropy, beside the corpus."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import plotly.graph_objects as go

from store import Dream, DreamPrompt
from web.figures.frame import Figure, filled, layout, plain

LONGEST = 60
"""Characters of a text on hover."""


@lru_cache
def _frame(corpus: str | None) -> Figure:
    hover = "activation %{y:.3g}, %{x:.2f} nats per token<br>%{customdata}<extra></extra>"
    traces = [
        go.Scatter(mode="lines+markers", name="dream", marker={"size": 5}, line={"shape": "hv", "width": 1.5},
                   hovertemplate=hover, meta="active"),
        go.Scatter(mode="markers", name=corpus or "corpus", marker={"size": 8, "symbol": "diamond"},
                   hovertemplate=hover, meta="accent"),
    ]  # fmt: skip
    shape = layout("cross-entropy, nats per token", "activation", log_y=False)
    shape |= {"showlegend": True, "legend": {"orientation": "h", "x": 0, "y": 1.18, "yanchor": "top"}}
    shape["margin"] = {**shape["margin"], "t": 28}
    return plain(go.Figure(traces), shape)


def frontier(dream: Dream) -> Figure:
    """Every prompt of the frontier, and the corpus examples measured alike."""
    return filled(_frame(dream.corpus), _points(dream.frontier), _points(dream.examples))


def _points(prompts: Sequence[DreamPrompt]) -> dict[str, Any]:
    return {
        "x": [one.cross_entropy for one in prompts],
        "y": [one.activation for one in prompts],
        "customdata": [_hover(one.text) for one in prompts],
    }


def _hover(text: str) -> str:
    """Plotly reads a few tags in hover texts; what is shown is the text itself, in one line."""
    shown = repr(text)[1:-1]
    shown = shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
