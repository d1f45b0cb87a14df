"""Training curves: reads an SAE's append-only metrics.jsonl, which may be growing while it is read."""

from pathlib import Path
from typing import Any

import orjson

from web.figures.frame import Figure
from web.figures.training import curve
from web.formats import number, percent

MOST_POINTS = 600

CURVES = [
    ("fvu", "fraction of variance unexplained", "FVU", True),
    ("loss", "loss", "loss", True),
    ("l0", "active latents per token (L0)", "L0", False),
    ("dead", "dead latents", "share", False),
]
"""(column, caption, axis title, log axis), in the order shown."""


def read(path: Path) -> list[dict[str, Any]]:
    """Rows of metrics.jsonl, oldest first; a last line that is still being written is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_bytes().split(b"\n"):
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def thinned(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most `MOST_POINTS` rows, evenly spaced, the last one among them."""
    step = max(1, -(-len(rows) // MOST_POINTS))
    return rows[::-step][::-1]


def curves(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One figure per quantity that the rows hold: {name, last, figure}; loss is left out where it repeats FVU."""
    rows = thinned(rows)
    out = []
    for column, name, axis, log in CURVES:
        points = [(row.get("tokens", row.get("step", 0)), row[column]) for row in rows if row.get(column) is not None]
        if len(points) < 2:
            continue
        tokens, values = zip(*points, strict=True)
        share = column == "dead"
        last = percent(values[-1]) if share else number(values[-1])
        figure: Figure = curve(tokens, values, y=axis, log_y=log and min(values) > 0, share=share)
        out.append({"name": name, "last": last, "figure": figure})
    return out
