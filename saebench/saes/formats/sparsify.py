"""sparsify (EleutherAI): `cfg.json` beside `sae.safetensors` in a folder named after the hook point. TopK only.

Decisions: their TopK takes ReLU before the selection, ours keeps what is above zero: the same codes. Multi-TopK is 4 k.
"""

from saebench.saes.archetypal import Archetypal
from saebench.saes.formats.checks import Config, Tensors, expect, flag, one_of, refuse, whole
from saebench.saes.formats.serving import only_plain, weights
from saebench.saes.sae import SAE
from saebench.saes.topk import TopK

CONFIG = "cfg.json"
WEIGHTS = "sae.safetensors"
MULTI = 4


def from_sparsify(config: Config, tensors: Tensors) -> tuple[SAE, list[str]]:
    """Their SAE as ours, with notes. Raises ValueError for what does not fit together or has no counterpart."""
    d_in = whole(config, "d_in")
    n_latents = whole(config, "num_latents") if config.get("num_latents") else d_in * whole(config, "expansion_factor")
    one_of(config, "activation", ("topk",), "topk")
    refuse(config, "transcode", "a transcoder predicts other activations than it reads")
    refuse(config, "skip_connection", "an SAE has no linear path around its latents")
    refuse(config, "signed", "codes below zero exist in no rule here")
    k = whole(config, "k")
    multi_k = MULTI * k if flag(config, "multi_topk", False) else None
    shapes = {"encoder.weight": (n_latents, d_in), "encoder.bias": (n_latents,)}
    by = f"d_in {d_in} and num_latents {n_latents} of the config"
    expect(tensors, shapes | {"W_dec": (n_latents, d_in), "b_dec": (d_in,)}, by)
    ours = {
        "W_enc": tensors["encoder.weight"],
        "b_enc": tensors["encoder.bias"],
        "W_dec": tensors["W_dec"],
        "b_dec": tensors["b_dec"],
    }
    return SAE(**ours, rule=TopK(k, multi_k=multi_k), normalise="none"), []


def to_sparsify(sae: SAE) -> tuple[Config, Tensors]:
    """Our TopK SAE as theirs. Raises ValueError for any other."""
    if not isinstance(sae.rule, TopK):
        raise ValueError(f"sparsify knows TopK only, this SAE is {sae.rule.name}; write it as saelens")
    only_plain(sae, "sparsify")
    ours = weights(sae)
    tensors = {
        "encoder.weight": ours["W_enc"],
        "encoder.bias": ours["b_enc"],
        "W_dec": ours["W_dec"],
        "b_dec": ours["b_dec"],
    }
    config = {
        "activation": "topk",
        "expansion_factor": max(1, sae.n_latents // sae.d_in),
        "normalize_decoder": not isinstance(sae.rule, Archetypal),
        "num_latents": sae.n_latents,
        "k": sae.rule.k,
        "multi_topk": sae.rule.multi_k == MULTI * sae.rule.k,
        "skip_connection": False,
        "transcode": False,
        "d_in": sae.d_in,
    }
    return config, tensors
