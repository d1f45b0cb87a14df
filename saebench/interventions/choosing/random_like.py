"""A baseline for every selection: random features that fire as often as the chosen ones."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from saebench.errors import UserError
from saebench.interventions.choosing.candidates import Candidate, check_features

NEAREST = 10
"""Features of the nearest density among which one is drawn."""


def random_like(
    sae: str, chosen: Sequence[int], densities: Float[np.ndarray, " features"], seed: int = 0
) -> list[Candidate]:
    """For every chosen feature another one, drawn from the 10 that come nearest to its density.

    None is among the chosen, none is dead, none comes twice. Densities are compared by their ratio.

    Args:
        sae: whose features they are.
        chosen: the features to be matched.
        densities: share of tokens on which each feature of the SAE fires, over all the text that counts.
        seed: of the draw.

    Raises:
        UserError: a feature that is not there, or too few others that fire.
    """
    check_features(chosen, len(densities))
    rng = np.random.default_rng(seed)
    free = np.setdiff1d(np.flatnonzero(densities > 0), chosen)
    if len(free) < len(set(chosen)):
        raise UserError(f"only {len(free)} other features fire, {len(set(chosen))} are to be matched; choose fewer")
    found = []
    for feature in dict.fromkeys(chosen):
        apart = np.abs(np.log(densities[free]) - np.log(max(densities[feature], np.finfo(float).tiny)))
        near = np.lexsort((free, apart))[:NEAREST]
        at = int(rng.choice(near))
        found.append(
            Candidate(
                sae=sae, feature=int(free[at]), method="random",
                scores={"density": float(densities[free[at]]), "density matched": float(densities[feature])},
            )
        )  # fmt: skip
        free = np.delete(free, at)
    return found
