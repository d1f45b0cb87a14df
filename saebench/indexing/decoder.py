"""What a feature is by its weights alone: neighbours, norms, and the tokens it promotes."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.indexing.config import IndexConfig
from saebench.lm import LanguageModel
from saebench.saes import SAE
from store import DecoderTables

ROWS = 1024
"""Latents handled at once: bounds memory at ROWS × max(latents, vocabulary)."""


@torch.no_grad()
def decoder_tables(config: IndexConfig, lm: LanguageModel, sae: SAE, hook_point: str) -> DecoderTables:
    """Decoder norms, encoder–decoder cosines, decoder-cosine neighbours and the logit lens of every latent."""
    W_enc, W_dec = sae.W_enc.float(), sae.W_dec.float()
    neighbours, cosines = nearest(W_dec, min(config.neighbours, len(W_dec) - 1))
    lens = logit_lens(config, lm, W_dec, hook_point)
    return DecoderTables(
        decoder_norm=W_dec.norm(dim=1).numpy(),
        encoder_decoder_cosine=torch.cosine_similarity(W_enc, W_dec, dim=1).numpy(),
        neighbours=neighbours.int().numpy(),
        neighbour_cosine=cosines.numpy(),
        head_share=head_share(W_dec, lm.heads(hook_point)).numpy(),
        **lens,
    )


def head_share(W_dec: Float[Tensor, "m d"], n_heads: int) -> Float[Tensor, "m heads"]:
    """The share of each attention head in every decoder row: the norm of the head's slice over the sum of these norms
    (Kissane et al. 2024, "Interpreting Attention Layer Outputs with Sparse Autoencoders"). Rows of zeros have shares of
    zero; without heads the table is empty.
    """
    if n_heads == 0:
        return W_dec.new_zeros(0, 0)
    norms = W_dec.unflatten(1, (n_heads, -1)).norm(dim=2)
    total = norms.sum(1, keepdim=True)
    return norms / torch.where(total > 0, total, 1)


def nearest(W_dec: Float[Tensor, "m d"], k: int) -> tuple[Int[Tensor, "m k"], Float[Tensor, "m k"]]:
    """The k rows nearest to each row by cosine, itself left out, and their cosines, largest first."""
    unit = torch.nn.functional.normalize(W_dec, dim=1)
    indices, values = [], []
    for first in range(0, len(unit), ROWS):
        cosine = unit[first : first + ROWS] @ unit.T
        rows = torch.arange(len(cosine))
        cosine[rows, first + rows] = -torch.inf
        value, index = cosine.topk(k, dim=1)
        indices.append(index)
        values.append(value)
    return torch.cat(indices), torch.cat(values)


def logit_lens(
    config: IndexConfig, lm: LanguageModel, W_dec: Float[Tensor, "m d"], hook_point: str
) -> dict[str, np.ndarray]:
    """Promoted and suppressed tokens of each latent and the histogram of its logit weights.

    The bins are shared by all latents, so that their histograms can be compared.
    """
    k = min(config.logit_tokens, lm.d_vocab)
    tables: dict[str, list[Tensor]] = {
        "promoted": [], "promoted_logit": [], "suppressed": [], "suppressed_logit": [],
    }  # fmt: skip
    chunks = range(0, len(W_dec), ROWS)
    largest = 0.0
    for first in chunks:
        logits = lm.logit_lens(W_dec[first : first + ROWS], hook_point)
        largest = max(largest, float(logits.abs().max()))
        for name, found in (("promoted", logits.topk(k)), ("suppressed", logits.topk(k, largest=False))):
            tables[name].append(found.indices.int())
            tables[f"{name}_logit"].append(found.values)
    edges = np.linspace(-largest, largest, config.logit_bins + 1, dtype=np.float32)
    histogram = [count(lm.logit_lens(W_dec[first : first + ROWS], hook_point), edges) for first in chunks]
    return {name: torch.cat(parts).numpy() for name, parts in tables.items()} | {
        "logit_histogram_edges": edges,
        "logit_histogram": np.concatenate(histogram),
    }


def count(logits: Float[Tensor, "n vocab"], edges: Float[np.ndarray, " bins+1"]) -> Int[np.ndarray, "n bins"]:
    """Histogram of each row; the last bin is closed."""
    bins = len(edges) - 1
    place = torch.bucketize(logits, torch.from_numpy(edges), right=True).sub_(1).clamp_(0, bins - 1)
    return torch.zeros(len(logits), bins, dtype=torch.int32).scatter_add_(
        1, place, torch.ones_like(place, dtype=torch.int32)
    ).numpy()  # fmt: skip
