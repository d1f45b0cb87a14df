"""dictionary_learning (Marks, Karvonen & Mueller): a state dict `ae.pt` beside `config.json`, one class per variant.

Decisions: what a class does in `load_dictionary` is what is read. So AutoEncoder gets unit decoder rows (ReLU SAEs
without them are written as AutoEncoderNew), and classes that read x as it is have b_dec folded into their bias. `ae.pt`
is a pickle: it is read with `weights_only`, or not at all.
"""

from itertools import accumulate, pairwise

import torch

from saebench.saes.batchtopk import BatchTopK
from saebench.saes.feature_choice import FeatureChoice
from saebench.saes.formats import fold
from saebench.saes.formats.checks import Config, Tensors, expect, one_of, section, whole
from saebench.saes.formats.serving import estimated, only_plain, serving, weights
from saebench.saes.gated import Gated
from saebench.saes.jumprelu import JumpReLU
from saebench.saes.matryoshka import Matryoshka
from saebench.saes.relu import ReLU
from saebench.saes.rule import Rule
from saebench.saes.sae import SAE
from saebench.saes.topk import TopK

CONFIG = "config.json"
WEIGHTS = "ae.pt"

LINEAR = {"W_enc": "encoder.weight", "b_enc": "encoder.bias", "W_dec": "decoder.weight", "b_dec": "b_dec"}
PLAIN = {"W_enc": "W_enc", "b_enc": "b_enc", "W_dec": "W_dec", "b_dec": "b_dec"}
NAMES: dict[str, dict[str, str]] = {
    "AutoEncoder": LINEAR | {"b_dec": "bias"},
    "AutoEncoderNew": LINEAR | {"b_dec": "decoder.bias"},
    "GatedAutoEncoder": LINEAR
    | {"b_enc": "mag_bias", "b_dec": "decoder_bias", "r_mag": "r_mag", "b_gate": "gate_bias"},
    "AutoEncoderTopK": LINEAR,
    "BatchTopKSAE": LINEAR,
    "MatryoshkaBatchTopKSAE": PLAIN,
    "JumpReluAutoEncoder": PLAIN | {"threshold": "threshold"},
}
"""Our tensors by their classes' names. Under the names of a torch layer W_dec is [d_in, n_latents], else W_enc is."""

BUDGETS = ("AutoEncoderTopK", "BatchTopKSAE", "MatryoshkaBatchTopKSAE")
"""Classes with the buffers k and threshold."""
UNCENTRED = ("AutoEncoderNew", "JumpReluAutoEncoder")
"""Classes that read x, not x − b_dec."""


def from_dictionary_learning(config: Config, tensors: Tensors) -> tuple[SAE, list[str]]:
    """Their dictionary as ours, with notes. Raises ValueError for what does not fit together."""
    trainer, notes = section(config, "trainer"), []
    kind = one_of(trainer, "dict_class", tuple(NAMES))
    d_in, n_latents = whole(trainer, "activation_dim"), whole(trainer, "dict_size")
    about: Tensors = {name: tensors[name] for name in ("k", "group_sizes") if kind in BUDGETS and name in tensors}
    floats = {name: tensor for name, tensor in tensors.items() if name not in about}
    names = NAMES[kind]
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(names.values(), (n_latents,))
    shapes |= {names["W_enc"]: (n_latents, d_in), names["W_dec"]: (d_in, n_latents), names["b_dec"]: (d_in,)}
    if names["W_enc"] == "W_enc":
        shapes |= {"W_enc": (d_in, n_latents), "W_dec": (n_latents, d_in)}
    if kind in BUDGETS and (kind != "AutoEncoderTopK" or "threshold" in floats):  # TopK had none at first
        shapes["threshold"] = ()
    by = f"activation_dim {d_in} and dict_size {n_latents} of the config"
    expect(floats, shapes, by, infinite=("threshold",))

    ours = {name: floats[theirs] for name, theirs in names.items()}
    transposed = "W_dec" if names["W_enc"] == "encoder.weight" else "W_enc"
    ours[transposed] = ours[transposed].T.contiguous()
    if kind in ("BatchTopKSAE", "MatryoshkaBatchTopKSAE"):
        ours["threshold"] = floats["threshold"].clamp_min(0)
        if bool(floats["threshold"] < 0):
            notes.append(
                "its threshold was never estimated; as dictionary_learning does, it serves every latent above 0"
            )
    if kind == "JumpReluAutoEncoder":
        ours["log_threshold"] = fold.log_threshold(ours.pop("threshold"))
    if kind in UNCENTRED:
        ours = fold.centre(ours)
    if kind == "AutoEncoder" and not fold.has_unit_rows(ours):
        ours = fold.unit_rows(ours)
    return SAE(**ours, rule=_rule(kind, trainer, about, n_latents), normalise="none"), notes


def to_dictionary_learning(sae: SAE) -> tuple[Config, Tensors]:
    """Our SAE as their dictionary. Raises ValueError for a layer norm or a threshold never estimated."""
    only_plain(sae, "dictionary_learning")
    kind, ours = _class(sae), weights(sae)
    if kind == "JumpReluAutoEncoder":
        ours["threshold"] = _thresholds(sae)
    if kind in UNCENTRED:
        ours = fold.centre(ours, sign=-1)
    if kind == "GatedAutoEncoder":
        ours |= {name: sae.tensor(name).detach() for name in ("r_mag", "b_gate")}
    transposed = "W_dec" if NAMES[kind]["W_enc"] == "encoder.weight" else "W_enc"
    ours[transposed] = ours[transposed].T
    tensors = {theirs: ours[name] for name, theirs in NAMES[kind].items()}
    trainer: Config = {"dict_class": kind, "activation_dim": sae.d_in, "dict_size": sae.n_latents}
    if isinstance(sae.rule, TopK | BatchTopK) and kind in BUDGETS:
        trainer["k"] = sae.rule.k
        threshold = estimated(sae) if kind != "AutoEncoderTopK" else torch.tensor(-1.0)
        tensors |= {"k": torch.tensor(sae.rule.k, dtype=torch.int32), "threshold": threshold}
    if isinstance(sae.rule, Matryoshka):
        ends = [0, *(max(1, round(share * sae.n_latents)) for share in sae.rule.prefixes)]
        sizes = [after - before for before, after in pairwise(ends) if after > before]
        tensors["group_sizes"] = torch.tensor(sizes)
    return {"trainer": trainer}, tensors


def _rule(kind: str, trainer: Config, about: Tensors, n_latents: int) -> Rule:
    if kind in BUDGETS:
        k = whole(trainer, "k")
        if "k" in about and (about["k"].numel() != 1 or int(about["k"]) != k):
            raise ValueError(f"config: trainer.k is {k}, but the tensor k is {about['k'].tolist()}")
        if kind == "AutoEncoderTopK":
            return TopK(k)
        if kind == "BatchTopKSAE":
            return BatchTopK(k)
        sizes = about.get("group_sizes", torch.zeros(0)).flatten().tolist()
        if sum(sizes) != n_latents or min(sizes) < 1:
            raise ValueError(f"group_sizes are {sizes}, they must be at least 1 each and add up to {n_latents}")
        return Matryoshka(k, prefixes=tuple(end / n_latents for end in accumulate(sizes)))
    if kind == "GatedAutoEncoder":
        return Gated()
    return JumpReLU() if kind == "JumpReluAutoEncoder" else ReLU()


def _class(sae: SAE) -> str:
    match sae.rule:
        case TopK():
            return "AutoEncoderTopK"
        case Matryoshka():
            return "MatryoshkaBatchTopKSAE"
        case FeatureChoice():
            return "JumpReluAutoEncoder"
        case BatchTopK():
            return "BatchTopKSAE"
        case Gated():
            return "GatedAutoEncoder"
        case ReLU() if fold.has_unit_rows(weights(sae)):
            return "AutoEncoder"
        case ReLU():
            return "AutoEncoderNew"
    return "JumpReluAutoEncoder"


def _thresholds(sae: SAE) -> torch.Tensor:
    thresholds = serving(sae).thresholds
    assert thresholds is not None
    return thresholds
