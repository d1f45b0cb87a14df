"""The tokens that features promote: those whose logits their decoder rows raise most by themselves (logit lens)."""

from collections.abc import Iterable, Sequence

import torch

from saebench.circuits.decomposition import Dictionary
from saebench.lm import LanguageModel

N_TOKENS = 6
ROWS = 256
"""Features handled at once: bounds memory at ROWS × vocabulary."""


@torch.no_grad()
def promoted(
    lm: LanguageModel, site: Dictionary, features: Iterable[int], pieces: Sequence[bytes]
) -> dict[int, tuple[str, ...]]:
    """By feature, `N_TOKENS` tokens, the most raised first.

    Args:
        lm: the model.
        site: whose directions the features have.
        features: which; one that comes twice is looked at once.
        pieces: bytes of every token id; a model may have logits of more, which are of no token.
    """
    wanted = torch.tensor(list(dict.fromkeys(features)), dtype=torch.long)
    found: dict[int, tuple[str, ...]] = {}
    for rows in wanted.split(ROWS):
        logits = lm.logit_lens(site.directions[rows.to(site.directions.device)], site.hook_point)
        logits = logits[:, : len(pieces)]
        best = logits.topk(min(N_TOKENS, logits.shape[1])).indices.tolist()
        for feature, tokens in zip(rows.tolist(), best, strict=True):
            found[feature] = tuple(pieces[token].decode(errors="replace") for token in tokens)
    return found
