"""Training curves: reads an SAE's append-only metrics.jsonl, which may be growing while it is read."""

import os
import threading
from pathlib import Path
from typing import Any

import orjson

from web.figures.frame import Figure
from web.figures.training import curve
from web.formats import quantity

MOST_POINTS = 600

CURVES = [
    ("fvu", "fraction of variance unexplained", "FVU", True),
    ("loss", "loss", "loss", True),
    ("l0", "active latents per token (L0)", "L0", False),
    ("dead", "dead latents", "share", False),
]
"""(column, caption, axis title, log axis), in the order shown."""


class Metrics:
    """Rows of metrics.jsonl files, of each of which only what was added since the last look is read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[Path, tuple[int, int, list[dict[str, Any]]]] = {}

    def read(self, path: Path) -> list[dict[str, Any]]:
        """Rows so far, oldest first; a last line that is still being written is left out. None where there is no
        file.
        """
        with self._lock:
            try:
                with path.open("rb") as file:
                    inode = os.fstat(file.fileno()).st_ino
                    known, offset, rows = self._seen.get(path, (inode, 0, []))
                    size = file.seek(0, os.SEEK_END)
                    if known != inode or size < offset:  # another run: the file was begun anew
                        offset, rows = 0, []
                    file.seek(offset)
                    added, _, _ = file.read().rpartition(b"\n")
            except OSError:
                return []
            if added:
                rows = rows + [row for line in added.split(b"\n") if (row := _row(line))]
                offset += len(added) + 1
            self._seen[path] = (inode, offset, rows)
            return rows


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return row if isinstance(row, dict) else None


def thinned(rows: list[dict[str, Any]], most: int = MOST_POINTS) -> list[dict[str, Any]]:
    """At most so many rows, evenly spaced, the last one among them."""
    step = max(1, -(-len(rows) // most))
    return rows[::-step][::-1]


def scalars(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with all columns that any of them has, as far as they are numbers; None where there is none."""
    numbers = [{k: v for k, v in row.items() if isinstance(v, int | float)} for row in rows]
    names = list(dict.fromkeys(name for row in numbers for name in row))
    return [{name: row.get(name) for name in names} for row in numbers]


def curves(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One figure per quantity that the rows hold: {name, last, figure}; loss is left out where it repeats FVU."""
    rows = thinned(rows)
    out = []
    for column, name, axis, log in CURVES:
        points = [(row.get("tokens", row.get("step", 0)), row[column]) for row in rows if row.get(column) is not None]
        if len(points) < 2:
            continue
        tokens, values = zip(*points, strict=True)
        figure: Figure = curve(tokens, values, y=axis, log_y=log and min(values) > 0, share=column == "dead")
        out.append({"name": name, "last": quantity(values[-1], column), "figure": figure})
    return out
