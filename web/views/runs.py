"""Trainings that are under way: what their metrics files said last."""

import time
from pathlib import Path
from typing import Any

from web.metrics import thinned
from web.models.home import Run
from web.workspace import Workspace

PATIENCE = 10.0
"""Seconds beyond five times the usual interval after which a run that says nothing is taken to have stopped."""
POINTS = 60


def runs(here: Workspace) -> list[Run]:
    """SAEs that have metrics but no weights yet, the one heard of last first."""
    found = []
    for path in (here.path / "saes").glob("*/metrics.jsonl"):
        sae_id = path.parent.name
        rows = here.metrics(sae_id)
        if rows and not here.trained(sae_id):
            found.append((_changed(path), run(sae_id, rows, here.config(sae_id), time.time() - _changed(path))))
    return [one for _, one in sorted(found, key=lambda pair: -pair[0])]


def run(sae_id: str, rows: list[dict[str, Any]], config: dict[str, Any], age: float) -> Run:
    """A run from its metrics; `age` is how many seconds ago it wrote the last."""
    last = rows[-1]
    step, tokens, of_tokens = last.get("step", 0), last.get("tokens", 0), config.get("tokens")
    speed = last.get("tokens_per_second")
    usual = last.get("seconds", 0.0) / len(rows)
    left = (of_tokens - tokens) / speed if of_tokens and speed else None
    return Run(
        sae=sae_id,
        state="running" if age < PATIENCE + 5 * usual else "stopped",
        step=step,
        tokens=tokens,
        of_tokens=of_tokens,
        tokens_per_second=speed,
        seconds_left=left,
        **{name: last.get(name) for name in ("loss", "fvu", "l0", "dead")},
        losses=[row["loss"] for row in thinned(rows, POINTS) if row.get("loss") is not None],
    )


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
