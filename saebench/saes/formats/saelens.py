"""SAELens: `cfg.json` beside `sae_weights.safetensors`, of a finished SAE or a training checkpoint.

Decisions: BatchTopK and Matryoshka are finished as JumpReLU there, and are read as such; their training checkpoints
keep their rule. `rescale_acts_by_decoder_norm` selects codes as if decoder rows were unit: so they are made.
Activations scaled in training are scaled in the weights, if the factor is known (`activation_scaler.json` of a training
checkpoint; a finished SAE has it folded). One dtype in their config holds for all tensors when they load, so we write
the widest that there is: no threshold gets rounded. What is written counts as version 6.
"""

from typing import Any

import torch

from saebench.saes.batchtopk import BatchTopK
from saebench.saes.formats import fold
from saebench.saes.formats.checks import Config, Tensors, expect, flag, one_of, refuse, required, section, whole
from saebench.saes.formats.serving import serving, weights
from saebench.saes.gated import Gated
from saebench.saes.jumprelu import JumpReLU
from saebench.saes.matryoshka import Matryoshka
from saebench.saes.relu import ReLU
from saebench.saes.rule import Rule
from saebench.saes.sae import SAE
from saebench.saes.topk import TopK

CONFIG = "cfg.json"
WEIGHTS = "sae_weights.safetensors"
SCALER = "activation_scaler.json"

ARCHITECTURES = ("standard", "topk", "jumprelu", "gated", "batchtopk", "matryoshka_batchtopk")
KINDS = {"relu": "standard", "topk": "topk", "jumprelu": "jumprelu", "gated": "gated"}


def from_saelens(config: Config, tensors: Tensors) -> tuple[SAE, list[str]]:
    """Their SAE as ours, with notes. `config` is cfg.json with the content of activation_scaler.json, if any, in it.

    Raises ValueError for what does not fit together or has no counterpart.
    """
    config, tensors, notes = _of_version_6(config), dict(tensors), []
    d_in, n_latents = whole(config, "d_in"), whole(config, "d_sae")
    architecture = one_of(config, "architecture", ARCHITECTURES)
    normalise = one_of(config, "normalize_activations", ("none", "layer_norm", "expected_average_only_in"), "none")
    reshape = one_of(config, "reshape_activations", ("none", "hook_z"), "none")
    if bool((tensors.get("scaling_factor", torch.ones(1)) == 1).all()):  # older versions wrote ones
        tensors.pop("scaling_factor", None)
    own = _own_shapes(architecture, n_latents)
    if architecture == "jumprelu" and "log_threshold" in tensors:  # training checkpoints of older versions
        own = {"log_threshold": (n_latents,)}
    biases = {"b_dec": (d_in,)} if architecture == "gated" else {"b_enc": (n_latents,), "b_dec": (d_in,)}
    shapes: dict[str, tuple[int, ...]] = {"W_enc": (d_in, n_latents), "W_dec": (n_latents, d_in)}
    by = f"d_in {d_in} and d_sae {n_latents} of the config"
    expect(tensors, shapes | biases | own, by, infinite=("threshold", "log_threshold"))

    rule = _rule(architecture, config, n_latents)
    tensors["W_enc"] = tensors["W_enc"].T.contiguous()
    if architecture == "gated":
        tensors["b_enc"] = tensors.pop("b_mag")
    elif architecture == "jumprelu" and "threshold" in tensors:
        tensors["log_threshold"] = fold.log_threshold(tensors.pop("threshold"))
    elif "topk_threshold" in tensors:
        tensors["threshold"] = tensors.pop("topk_threshold").float()
    rescale = flag(config, "rescale_acts_by_decoder_norm", False)
    if normalise == "expected_average_only_in":
        factor = _factor(config)
        tensors = fold.scale_input(tensors, factor)
        if rescale and "threshold" in tensors:  # in units of z · ‖decoder row‖, and the rows were just divided
            tensors["threshold"] = tensors["threshold"] / factor
        notes.append("the factor that its activations were scaled by in training is in the weights now")
    if not flag(config, "apply_b_dec_to_input", True):
        tensors = fold.centre(tensors)
    if rescale:
        tensors = fold.unit_rows(tensors)
    if reshape == "hook_z":
        notes.append("it reads attention heads side by side: give it activations flattened to [..., heads * d_head]")
    return SAE(**tensors, rule=rule, normalise="layer_norm" if normalise == "layer_norm" else "none"), notes


def to_saelens(sae: SAE) -> tuple[Config, Tensors]:
    """Our SAE as theirs: topk, jumprelu, gated or standard. Raises ValueError for a threshold never estimated."""
    serves = serving(sae)
    tensors = weights(sae)
    tensors["W_enc"] = tensors["W_enc"].T
    if serves.thresholds is not None:
        tensors["threshold"] = serves.thresholds
    if serves.kind == "gated":
        tensors["b_mag"] = tensors.pop("b_enc")
        tensors |= {name: sae.tensor(name).detach() for name in ("b_gate", "r_mag")}
    config = {
        "architecture": KINDS[serves.kind],
        "d_in": sae.d_in,
        "d_sae": sae.n_latents,
        "dtype": str(max((t.dtype for t in tensors.values()), key=lambda dtype: dtype.itemsize)).removeprefix("torch."),
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": sae.normalise,
        "reshape_activations": "none",
        "metadata": {"sae_lens_version": "6.0.0"},
    }
    if isinstance(sae.rule, TopK):
        config |= {"k": sae.rule.k, "rescale_acts_by_decoder_norm": False}
    return config, tensors


def _own_shapes(architecture: str, n_latents: int) -> dict[str, tuple[int, ...]]:
    match architecture:
        case "jumprelu":
            return {"threshold": (n_latents,)}
        case "gated":
            return dict.fromkeys(("b_gate", "b_mag", "r_mag"), (n_latents,))
        case "batchtopk" | "matryoshka_batchtopk":
            return {"topk_threshold": ()}
    return {}


def _rule(architecture: str, config: Config, n_latents: int) -> Rule:
    match architecture:
        case "topk":
            return TopK(whole(config, "k"))
        case "jumprelu":
            return JumpReLU()
        case "gated":
            return Gated()
        case "batchtopk":
            return BatchTopK(_mean_k(config))
        case "matryoshka_batchtopk":
            widths = required(config, "matryoshka_widths")
            if not isinstance(widths, list) or not all(isinstance(width, int) for width in widths):
                raise ValueError(f"config: matryoshka_widths must be whole numbers, is {widths!r}")
            shares = [width / n_latents for width in widths if width < n_latents]
            return Matryoshka(_mean_k(config), prefixes=(*shares, 1.0))
    return ReLU()


def _mean_k(config: Config) -> int:
    """Their k of a batch may be broken; it matters to further training only."""
    k = required(config, "k")
    return whole({"k": max(1, round(k)) if isinstance(k, float) else k}, "k")


def _factor(config: Config) -> float:
    factor = section(config, SCALER).get("scaling_factor") if SCALER in config else None
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not factor > 0:
        raise ValueError(
            f"config: normalize_activations is expected_average_only_in, but no {SCALER} says by which factor its "
            'activations were scaled; write "normalize_activations": "none" if that is in the weights already'
        )
    return float(factor)


def _of_version_6(config: Config) -> Config:
    """A config of any version with the keys of version 6."""
    metadata = config.get("metadata")
    version = config.get("sae_lens_version") or (metadata.get("sae_lens_version") if isinstance(metadata, dict) else "")
    major = str(version).partition(".")[0]
    if major.isdigit() and int(major) >= 6:
        return config
    config = {"architecture": "standard", "activation_fn": config.get("activation_fn_str", "relu")} | config
    refuse(config, "finetuning_scaling_factor", "SAELens reads no such SAE any more either")
    if one_of(config, "activation_fn", ("relu", "topk")) == "topk":
        arguments: Any = section(config, "activation_fn_kwargs")
        config |= {"architecture": "topk", "k": whole(arguments, "k")}
    normalise = config.get("normalize_activations")
    if not isinstance(normalise, str):
        config["normalize_activations"] = "expected_average_only_in" if normalise else "none"
    hook = str(config.get("hook_name", config.get("hook_point", "")))
    return {"reshape_activations": "hook_z" if "hook_z" in hook else "none"} | config
