"""How features fire on text that is not indexed: one pass of the model and the SAE."""

from collections.abc import Callable, Iterable

import numpy as np

from saebench.corpus import Contexts
from saebench.indexing.build import encode_batch
from saebench.interventions.apply import Hooked
from saebench.lm import LanguageModel
from store import Firings


def firings_on(
    lm: LanguageModel, hooked: Hooked, blocks: Iterable[Contexts], on_progress: Callable[[int], None] = lambda _: None
) -> Firings:
    """Count over blocks of contexts, such as `Corpus.blocks(32)`, what an index of them would hold.

    An index keeps activations as half floats, so its sums of squares differ by up to a thousandth. `on_progress` is
    told the number of contexts done.

    Raises:
        UserError: no such hook point, or an SAE of another width.
    """
    lm.check_hook_points([hooked.hook_point])
    n = hooked.sae.n_latents
    tokens = done = 0
    counts, squares = np.zeros(n, np.int64), np.zeros(n)
    for block in blocks:
        _, features, values = encode_batch(lm, hooked.sae, hooked.hook_point, block)
        counts += np.bincount(features, minlength=n)
        squares += np.bincount(features, values.astype(np.float64) ** 2, minlength=n)
        tokens += int((~block.special).sum())
        done += len(block)
        on_progress(done)
    return Firings(tokens, counts, squares)
