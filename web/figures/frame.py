"""What all figures share.

Each trace names the role of its colour in `meta` (active, negative, accent, muted); static/figures.js puts the page's
own colours and font in, so that one figure serves both themes. Captions are text beside the figure.

A kind of figure is made once by plotly, which checks it (30 ms); `filled` puts each feature's numbers into a copy.
"""

from typing import Any

import plotly.graph_objects as go

Figure = dict[str, Any]


def layout(x: str, y: str, *, log_y: bool) -> dict[str, Any]:
    """Axes without frame or grid but faint horizontals, titles with units."""
    axis = {"showgrid": False, "zeroline": False, "nticks": 5}
    return {
        "margin": {"l": 52, "r": 8, "t": 8, "b": 36},
        "showlegend": False,
        "bargap": 0,
        "hovermode": "closest",
        "dragmode": "zoom",
        "xaxis": {
            **axis,
            "title": {"text": x, "standoff": 4, "font": {"size": 11}},
            "showline": True,
            "ticks": "outside",
            "ticklen": 3,
        },
        "yaxis": {
            **axis,
            "title": {"text": y, "standoff": 6, "font": {"size": 11}},
            "showgrid": True,
            "type": "log" if log_y else "linear",
            "nticks": 4,
            **({"dtick": 1} if log_y else {"rangemode": "tozero"}),
        },
    }


def plain(figure: go.Figure, shape: dict[str, Any]) -> Figure:
    """The figure as plain data, without plotly's default template (colours come from the page)."""
    figure.update_layout(template="none", **shape)
    data = figure.to_plotly_json()
    data["layout"].pop("template", None)
    return data


def filled(frame: Figure, *traces: dict[str, Any]) -> Figure:
    """A figure of the kind `frame`, with the values of its traces put in, in their order."""
    data = [{**kind, **values} for kind, values in zip(frame["data"], traces, strict=True)]
    return {**frame, "data": data}
