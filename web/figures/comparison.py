"""Figures of two SAEs compared."""

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from web.figures.frame import Figure, layout, plain

_WIDTH = 0.025


def best_cosines(cosines: Float[np.ndarray, " features"], threshold: float) -> Figure:
    """Features by the cosine of their nearest decoder row in the other SAE; those with kin in the active colour."""
    edges = np.arange(np.floor(min(cosines.min(initial=0), 0) / _WIDTH) * _WIDTH, 1 + _WIDTH, _WIDTH)
    figure = go.Figure()
    for role, chosen in (("muted", cosines < threshold), ("active", cosines >= threshold)):
        counts, _ = np.histogram(np.clip(cosines[chosen], edges[0], 1 - 1e-9), edges)
        figure.add_trace(
            go.Bar(
                x=((edges[:-1] + edges[1:]) / 2).tolist(),
                y=counts.tolist(),
                width=0.94 * _WIDTH,
                customdata=np.stack([edges[:-1], edges[1:]], 1).tolist(),
                hovertemplate="cosine %{customdata[0]:.3f} – %{customdata[1]:.3f}<br>%{y:,} features<extra></extra>",
                opacity=0.45 if role == "muted" else 1,
                meta=role,
            )
        )
    shape = layout("cosine with the nearest feature of the other SAE", "features", log_y=False)
    return plain(figure, {**shape, "barmode": "stack"})
