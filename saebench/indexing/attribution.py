"""Direct feature attribution: how much of an attention feature's activation comes from which source token.

A head's output is a weighted sum of value vectors, z[h, dst] = Σ_src A[h, dst, src] · v[src, h], so a feature's
pre-activation W_enc·z + biases is a sum over heads and source positions (Kissane et al. 2024, "Interpreting Attention
Layer Outputs with Sparse Autoencoders"; the attention patterns are taken as given).

Decisions:
- An SAE that layer-norms its inputs divides by the deviation of the whole of z at dst; that scale is taken as given
  too, so the terms still add up.
- Context by context inside a batch: the terms of all heads and positions of its examples are one small product, and no
  copy of the values per example is ever made.
"""

from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float

from saebench.errors import UserError
from saebench.indexing.config import IndexConfig
from saebench.lm import LanguageModel
from saebench.saes import SAE
from saebench.saes.layer_norm import EPSILON
from store import IndexWriter, Unattributed

PATTERN = 1 << 26
"""Numbers in the attention patterns of one forward pass, at most: bounds memory where contexts are long."""


def attribute(config: IndexConfig, lm: LanguageModel, sae: SAE, hook_point: str, writer: IndexWriter) -> None:
    """Stage the attributions of the strongest examples of every feature, going on where a killed run stopped; nothing
    where the hook point is no `hook_z`.

    Raises:
        UserError: the model's heads are not pattern times values.
        StoreError: the disk is full.
    """
    if not lm.heads(hook_point) or not config.attributions:
        return
    for examples in writer.unattributed(config.attributions, config.batch_contexts * config.part_batches):
        writer.attribute(examples, *attributions(lm, sae, hook_point, examples, config.batch_contexts))


def check_attention(config: IndexConfig, lm: LanguageModel, hook_point: str) -> None:
    """Raise UserError, before any work is done, if `attribute` could not say what a head's output is made of."""
    if lm.heads(hook_point) and config.attributions and not lm.attends_linearly(hook_point):
        raise UserError(
            f"the heads of {hook_point} of model {lm.name!r} are not attention patterns times values, so that source "
            "tokens cannot be told apart; set index.attributions to 0 to index without"
        )


@torch.no_grad()
def attributions(
    lm: LanguageModel, sae: SAE, hook_point: str, examples: Unattributed, batch_contexts: int
) -> tuple[Float[np.ndarray, " sources"], Float[np.ndarray, "examples heads"]]:
    """What every source position 0 … position adds to an example's pre-activation (examples end to end), and what every
    head adds.
    """
    n_heads, length = lm.heads(hook_point), examples.tokens.shape[1]
    W_enc = sae.W_enc.float()
    if sae.normalise == "layer_norm":
        W_enc = W_enc - W_enc.mean(1, keepdim=True)
    W_enc = W_enc.unflatten(1, (n_heads, -1))
    step = min(max(PATTERN // (n_heads * length**2), 1), batch_contexts)
    sources, heads = [], []
    for first in range(0, len(examples.tokens), step):
        tokens = torch.from_numpy(examples.tokens[first : first + step]).long()
        patterns, values = lm.attention(tokens, hook_point)
        bounds = np.searchsorted(examples.row, np.arange(first, first + len(tokens) + 1))
        for i, (start, stop) in enumerate(pairwise(bounds)):
            position = torch.from_numpy(examples.position[start:stop])
            weights = W_enc[torch.from_numpy(examples.feature[start:stop]).long()].to(values.device)
            attended = patterns[i][:, position.to(patterns.device)]
            terms = torch.einsum("ehd,shd->ehs", weights, values[i]) * attended.transpose(0, 1)
            if sae.normalise == "layer_norm":
                z = torch.einsum("hes,shd->ehd", attended, values[i]).flatten(1)
                terms = terms / (z.std(1) + EPSILON)[:, None, None]
            terms = terms.cpu()
            sources.append(terms.sum(1)[torch.arange(length) <= position[:, None]])
            heads.append(terms.sum(2))
    return torch.cat(sources).numpy(), torch.cat(heads).numpy()
