"""Averages over the steps since the last row of metrics."""

from typing import Any

from saebench.training.state import State
from saebench.training.step import Measured


class Meter:
    """Adds up what steps measured; `row` is the mean since the last one."""

    def __init__(self, state: State) -> None:
        self._begin(state)

    def _begin(self, state: State) -> None:
        self._seconds = state.seconds
        self._sums: dict[str, float] = {}
        self._parts: dict[str, float] = {}
        self._steps = 0

    def add(self, measured: Measured) -> None:
        """Count a step."""
        for sums, values in (
            (self._sums, {"loss": measured.loss, "l0": measured.l0, "fvu": measured.fvu}),
            (self._parts, measured.parts),
        ):
            for key, value in values.items():
                sums[key] = sums.get(key, 0.0) + value
        self._steps += 1

    def row(self, state: State, batch: int, lr: float) -> dict[str, Any]:
        """The row of metrics.jsonl at this step; begins the next average.

        `parts` are the named terms of the loss; one that appeared in some of the steps only counts as zero in the rest.
        """
        speed = self._steps * batch / max(state.seconds - self._seconds, 1e-9)
        row: dict[str, Any] = {"step": state.step, "tokens": state.step * batch, "seconds": round(state.seconds, 3)}
        row |= {key: value / self._steps for key, value in self._sums.items()}
        row |= {"dead": state.dead_share(), "lr": lr, "tokens_per_second": round(speed, 1)}
        row["parts"] = {key: value / self._steps for key, value in self._parts.items()}
        self._begin(state)
        return row
