"""Selection C: features whose squared activation is large on the forget text against that on the text to retain.

Dynamic SAE Guardrails (Muhamed et al. 2025): the mean squared activation stands for a feature's Fisher information;
features in the top tenth of forget over retain are kept, and ranked by the forget text alone. The mean is of squares;
the published code squares the mean instead.
"""

import numpy as np

from saebench.errors import UserError
from saebench.interventions.choosing.candidates import Candidate, check_alike
from store import Firings

TINY = 1e-21
"""The published code's guard of the division; a feature that is silent on the retained text gets a huge ratio."""


def by_squares(sae: str, forget: Firings, retain: Firings, n: int = 20, percentile: float = 90) -> list[Candidate]:
    """The n features of the largest mean squared activation on the forget text, of those with the largest ratios.

    Args:
        sae: whose features were counted.
        forget: on the text to forget: `FeatureStore.firings` of an index, or `firings_on` of a stream.
        retain: on the text to retain.
        n: how many at most; features that never fire on the forget text are none.
        percentile: of all features' ratios, from which on one is kept; the published code's is 90.

    Raises:
        UserError: counts of different SAEs, or of no text; no percentile.
    """
    check_alike(forget, retain)
    if not 0 <= percentile <= 100:
        raise UserError(f"percentile must be between 0 and 100, got {percentile}")
    wanted = forget.mean_squares
    ratio = wanted / (retain.mean_squares + TINY)
    fit = np.flatnonzero((ratio >= np.percentile(ratio, percentile)) & (wanted > 0))
    order = fit[np.lexsort((fit, -wanted[fit]))][:n]
    return [
        Candidate(
            sae=sae, feature=int(i), method="squares",
            scores={"forget mean square": float(wanted[i]), "ratio": float(ratio[i])},
            forget_density=float(forget.densities[i]), retain_density=float(retain.densities[i]),
        )
        for i in order
    ]  # fmt: skip
