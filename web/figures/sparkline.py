"""A curve as small as a word."""

from collections.abc import Sequence


def sparkline(values: Sequence[float], width: float = 120, height: float = 20) -> str:
    """Points of an SVG polyline, the smallest value at the bottom."""
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return " ".join(
        f"{i * width / (len(values) - 1):.1f},{1 + (height - 2) * (high - value) / span:.1f}"
        for i, value in enumerate(values)
    )
