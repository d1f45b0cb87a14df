"""What every attention head writes into the residual stream, one vector for each prompt."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.circuits.heads import site_of
from saebench.lm import LanguageModel

Pooling = Literal["mean", "last"]


@torch.no_grad()
def head_outputs(
    lm: LanguageModel, prompts: Sequence[Int[Tensor, "examples context"]], pooling: Pooling = "mean"
) -> Float[Tensor, "examples heads d_model"]:
    """Outputs of all heads, layer by layer, through their output projection (W_O; its bias is no head's).

    Args:
        lm: the model.
        prompts: token ids, in batches of one length.
        pooling: the mean over positions, as in the paper, or the position that answers. The begin token is left out of
            the mean: what heads write there is the same for all prompts.
    """
    sites = [site_of(layer) for layer in range(lm.n_layers)]
    rows = []
    for tokens in prompts:
        first = -1 if pooling == "last" else int(opens(lm, tokens))
        found = lm.activations(tokens, sites)
        # The projection is linear: pooled before it, [examples, heads, context, d_model] is never made.
        pooled = torch.stack([found[site][:, first:].float().mean(1) for site in sites], dim=1)
        z = pooled.view(len(tokens), lm.n_layers, lm.n_heads, -1)
        projections = torch.stack([lm.bridge.W_O[layer] for layer in range(lm.n_layers)]).float()
        rows.append(torch.einsum("blhd,lhdm->blhm", z, projections).flatten(1, 2))
    return torch.cat(rows)


def opens(lm: LanguageModel, tokens: Int[Tensor, "examples context"]) -> bool:
    """Whether all prompts open with the begin token, and go on after it."""
    return tokens.shape[1] > 1 and bool((tokens[:, 0] == lm.tokenizer.bos_token_id).all())
