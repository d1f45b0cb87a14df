"""Bootstrap intervals (Efron 1979) of means and ratios: what a figure might have been with other questions or texts."""

from typing import Literal

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict

Method = Literal["percentile", "BCa"]
RESAMPLES = 2000
DRAWN_AT_ONCE = 2**22


class Estimate(BaseModel):
    """A figure and its interval.

    Attributes:
        value: the figure.
        low, high: its interval; None where none can be said: of one case, or where BCa is not defined.
        n: cases (questions, texts) that were drawn from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: float
    low: float | None
    high: float | None
    n: int


def mean_of(
    values: Float[np.ndarray, " cases"], level: float = 0.95, method: Method = "percentile", seed: int = 0
) -> Estimate:
    """The mean, and its interval over cases drawn anew. Of differences case by case, the paired interval.

    Args:
        values: one for each case, at least one.
        level: of confidence.
        method: by percentiles, or bias-corrected and accelerated (Efron 1987).
        seed: of the draws.
    """
    return ratio_of(values, np.ones(len(values)), level, method, seed)


def ratio_of(
    sums: Float[np.ndarray, " cases"],
    counts: Float[np.ndarray, " cases"],
    level: float = 0.95,
    method: Method = "percentile",
    seed: int = 0,
) -> Estimate:
    """Σ sums / Σ counts, and its interval over cases drawn anew, each with its own count: nats per token where a case
    is a text, whose tokens depend on each other.

    Args:
        sums: of each case.
        counts: of each case, above 0.
        level, method, seed: as `mean_of`.
    """
    from scipy.stats import bootstrap

    sums, counts = np.asarray(sums, np.float64), np.asarray(counts, np.float64)
    n, value = len(sums), float(sums.sum() / counts.sum())
    if n < 2:
        return Estimate(value=value, low=None, high=None, n=n)
    each = sums / counts
    if np.ptp(each) == 0:  # every draw is the same
        return Estimate(value=value, low=value, high=value, n=n)
    with np.errstate(all="ignore"):
        found = bootstrap(
            (sums, counts),
            lambda sums, counts, axis: sums.sum(axis) / counts.sum(axis),
            paired=True,
            vectorized=True,
            n_resamples=RESAMPLES,
            batch=max(1, DRAWN_AT_ONCE // n),
            confidence_level=level,
            method=method,
            rng=np.random.default_rng(seed),
        ).confidence_interval
    low, high = (None if np.isnan(bound) else float(bound) for bound in found)
    return Estimate(value=value, low=low, high=high, n=n)
