"""OpenMOSS's Language-Model-SAEs, Llama Scope: `config.json` beside `sae_weights.safetensors`. Read only.

Decisions: `dataset-wise` SAEs see activations divided by their average norm over √d_model. That is folded into biases
and thresholds, the weights stay: codes come out in the activations' own scale, as in their "inference" mode (whose
fold, in llamascopium 2.0, leaves JumpReLU's thresholds behind; ours scales them). `sparsity_include_decoder_norm`
selects by z · ‖decoder row‖: for JumpReLU a matter of thresholds; for TopK and BatchTopK decoder rows are made unit and
codes are multiplied by their norms.
"""

import math

import torch
from torch import Tensor

from saebench.saes.batchtopk import BatchTopK
from saebench.saes.formats import fold
from saebench.saes.formats.checks import Config, Tensors, expect, flag, one_of, refuse, required, whole
from saebench.saes.jumprelu import JumpReLU
from saebench.saes.relu import ReLU
from saebench.saes.rule import Rule
from saebench.saes.sae import SAE
from saebench.saes.topk import TopK

CONFIG = "config.json"
WEIGHTS = "sae_weights.safetensors"

NAMES = {
    "W_enc": "W_E", "b_enc": "b_E", "W_dec": "W_D", "b_dec": "b_D",
    "log_threshold": "activation_function.log_jumprelu_threshold",
}  # fmt: skip
LAYERS = {"encoder.bias": "b_E", "decoder.bias": "b_D", "log_jumprelu_threshold": NAMES["log_threshold"]}
"""Names of earlier releases, whose weights are those of torch layers: transposed."""
NORM = "dataset_average_activation_norm."


def from_openmoss(config: Config, tensors: Tensors) -> tuple[SAE, list[str]]:
    """Their SAE as ours, with notes. Raises ValueError for what does not fit together or has no counterpart."""
    d_in = whole(config, "d_model")
    n_latents = int(d_in * _positive("expansion_factor", required(config, "expansion_factor")))
    one_of(config, "sae_type", ("sae",), "sae")
    refuse(config, "use_glu_encoder", "an SAE's encoder is linear")
    hook = str(required(config, "hook_point_in"))
    if config.get("hook_point_out", hook) != hook:
        raise ValueError(f"config: hook_point_out is not hook_point_in ({hook}): a transcoder, not an autoencoder")
    kind = one_of(config, "act_fn", ("relu", "topk", "batchtopk", "jumprelu"), "relu")
    norm = one_of(config, "norm_activation", ("dataset-wise", "inference"), "dataset-wise")
    by_norm = flag(config, "sparsity_include_decoder_norm", True)

    norms = {name: tensor for name, tensor in tensors.items() if name.startswith(NORM)}
    theirs = _present_names({name: tensor for name, tensor in tensors.items() if name not in norms})
    wanted: dict[str, tuple[int, ...]] = {
        "W_enc": (d_in, n_latents), "b_enc": (n_latents,), "W_dec": (n_latents, d_in),
    }  # fmt: skip
    if flag(config, "use_decoder_bias", True):
        wanted["b_dec"] = (d_in,)
    if kind == "jumprelu":
        wanted["log_threshold"] = (n_latents,)
    by = f"d_model {d_in} and expansion_factor {n_latents / d_in:g} of the config"
    expect(theirs, {NAMES[name]: shape for name, shape in wanted.items()}, by, infinite=(NAMES["log_threshold"],))
    ours = {name: theirs[NAMES[name]] for name in wanted}
    ours["W_enc"] = ours["W_enc"].T.contiguous()
    ours.setdefault("b_dec", torch.zeros(d_in, dtype=ours["b_enc"].dtype))

    notes = []
    if norm == "dataset-wise":
        ours = _in_own_scale(ours, math.sqrt(d_in) / _average_norm(norms, hook))
        notes.append("the average norm that its activations were divided by is in biases and thresholds now")
    ours = fold.centre(ours)
    if by_norm and kind == "jumprelu":
        ours["log_threshold"] = fold.wide(ours["log_threshold"]) - fold.row_norms(ours).log()
    elif by_norm and kind != "relu":
        ours = fold.unit_rows(ours)
        notes.append("decoder rows are unit now: its codes are multiplied by their norms")
    if kind == "batchtopk":
        notes.append("it has no inference threshold: it selects over the batch, in sae.train(), or wants training")
    return SAE(**ours, rule=_rule(kind, config), normalise="none"), notes


def _rule(kind: str, config: Config) -> Rule:
    match kind:
        case "topk":
            return TopK(whole(config, "top_k"))
        case "batchtopk":
            return BatchTopK(whole(config, "top_k"))
        case "jumprelu":
            return JumpReLU()
    return ReLU()


def _present_names(tensors: Tensors) -> Tensors:
    if "encoder.weight" not in tensors:
        return tensors
    renamed = {LAYERS.get(name, name): tensor for name, tensor in tensors.items()}
    for old, new in (("encoder.weight", "W_E"), ("decoder.weight", "W_D")):
        if old in renamed:
            renamed[new] = renamed.pop(old).T
    return renamed


def _in_own_scale(ours: Tensors, factor: float) -> Tensors:
    """An SAE of factor · x as an SAE of x whose codes are divided by the factor."""
    scaled = {name: fold.wide(ours[name]) / factor for name in ("b_enc", "b_dec")}
    if "log_threshold" in ours:
        scaled["log_threshold"] = fold.wide(ours["log_threshold"]) - math.log(factor)
    return ours | scaled


def _average_norm(norms: Tensors, hook: str) -> float:
    values: dict[str, Tensor] = {name.removeprefix(NORM): tensor for name, tensor in norms.items()}
    value = values.get(hook, values.get("in"))
    if value is None or value.numel() != 1:
        raise ValueError(f"missing tensor {NORM}{hook}: by what its activations were divided")
    return _positive(NORM + hook, float(value))


def _positive(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{name} must be a positive number, is {value!r}")
    return float(value)
