"""Selection B: features that fire on the forget text and hardly ever on the text to retain.

Farrell, Lau and Conmy 2024 ("Applying sparse autoencoders to unlearn knowledge in language models"); SAEBench ranks so
too, with both .001 and .01 as the largest share of retained tokens.
"""

import numpy as np

from saebench.interventions.choosing.candidates import Candidate, check_alike
from store import Firings

RETAIN_AT_MOST = 0.01
"""The paper's share of retained tokens from which on a feature is left alone."""


def by_frequency(
    sae: str, forget: Firings, retain: Firings, n: int = 20, retain_below: float = RETAIN_AT_MOST
) -> list[Candidate]:
    """The n features that fire most often on the forget text, of those below a share of the retained tokens.

    Args:
        sae: whose features were counted.
        forget: on the text to forget: `FeatureStore.firings` of an index, or `firings_on` of a stream.
        retain: on the text to retain.
        n: how many at most; features that never fire on the forget text are none.
        retain_below: density on the text to retain from which on a feature is dropped.

    Raises:
        UserError: counts of different SAEs, or of no text.
    """
    check_alike(forget, retain)
    wanted, spared = forget.densities, retain.densities
    fit = np.flatnonzero((spared < retain_below) & (wanted > 0))
    order = fit[np.lexsort((fit, spared[fit], -wanted[fit]))][:n]
    return [
        Candidate(
            sae=sae, feature=int(i), method="frequency", scores={"forget density": float(wanted[i])},
            forget_density=float(wanted[i]), retain_density=float(spared[i]),
        )
        for i in order
    ]  # fmt: skip
