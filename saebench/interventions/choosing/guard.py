"""When to intervene at all: the share of tokens that dynamic guardrails (DSG; Muhamed et al. 2025) compare with."""

from collections.abc import Iterable, Sequence

import numpy as np

from saebench.corpus import Contexts
from saebench.errors import UserError
from saebench.indexing.build import encode_batch
from saebench.interventions.apply import Hooked
from saebench.interventions.choosing.candidates import check_features
from saebench.lm import LanguageModel


def retained_share(
    lm: LanguageModel, hooked: Hooked, features: Sequence[int], blocks: Iterable[Contexts], percentile: float = 95
) -> float:
    """A percentile, over contexts to retain, of the share of ordinary tokens on which any of the features fires.

    What fires on a larger share than nearly all retained text does is taken to be about what is to be forgotten.

    Raises:
        UserError: a feature that is not there, no text, or no percentile.
    """
    check_features(features, hooked.sae.n_latents)
    if not 0 <= percentile <= 100:
        raise UserError(f"percentile must be between 0 and 100, got {percentile}")
    shares: list[np.ndarray] = []
    for block in blocks:
        counts, latents, _ = encode_batch(lm, hooked.sae, hooked.hook_point, block)
        token = np.repeat(np.arange(len(counts)), counts)[np.isin(latents, features)]
        fires = np.zeros(len(counts), bool)
        fires[token] = True
        ordinary = (~block.special).sum(1)
        own = fires.reshape(block.special.shape).sum(1)
        shares.append(own[ordinary > 0] / ordinary[ordinary > 0])
    if not sum(map(len, shares)):
        raise UserError("there is no text to retain; give some")
    return float(np.percentile(np.concatenate(shares), percentile))
