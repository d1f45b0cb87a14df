"""OpenAI (Gao et al. 2024's code): one pickled state dict, read with `weights_only`. Read only.

Decisions: as their loader has it, TopK comes with a layer norm around the SAE, ReLU without. Their statistics of
firing are dropped: they count steps of a batch size that the file does not tell.
"""

from typing import Any

import torch

from saebench.saes.formats.checks import Config, Tensors, expect, one_of, section, whole
from saebench.saes.relu import ReLU
from saebench.saes.sae import SAE
from saebench.saes.topk import TopK

NAMES = {"W_enc": "encoder.weight", "b_enc": "latent_bias", "W_dec": "decoder.weight", "b_dec": "pre_bias"}
STATISTICS = ("stats_last_nonzero", "latents_activation_frequency", "latents_mean_square")


def split(content: dict[str, Any]) -> tuple[Config, Tensors]:
    """Their state dict holds settings and tensors side by side: the two apart."""
    settings = ("activation", "activation_state_dict")
    config = {key: content[key] for key in settings if key in content}
    return config, {key: value for key, value in content.items() if key not in settings}


def from_openai(config: Config, tensors: Tensors) -> tuple[SAE, list[str]]:
    """Their SAE as ours, with notes. Raises ValueError for what does not fit together or has no counterpart."""
    activation = one_of(config, "activation", ("ReLU", "TopK"), "ReLU")
    tensors = {name: tensor for name, tensor in tensors.items() if name not in STATISTICS}
    encoder = tensors.get(NAMES["W_enc"], torch.zeros(0, 0))
    if encoder.ndim != 2:
        raise ValueError(f"encoder.weight has shape {tuple(encoder.shape)}, it must be [n_latents, d_in]")
    n_latents, d_in = encoder.shape
    shapes = {"W_enc": (n_latents, d_in), "b_enc": (n_latents,), "W_dec": (d_in, n_latents), "b_dec": (d_in,)}
    expect(tensors, {NAMES[name]: shape for name, shape in shapes.items()}, "encoder.weight")
    ours = {name: tensors[theirs] for name, theirs in NAMES.items()}
    ours["W_dec"] = ours["W_dec"].T.contiguous()
    if activation == "ReLU":
        return SAE(**ours, rule=ReLU(), normalise="none"), []
    settings = section(config, "activation_state_dict")
    one_of(settings, "postact_fn", ("ReLU",), "ReLU")
    return SAE(**ours, rule=TopK(whole(settings, "k")), normalise="layer_norm"), []
