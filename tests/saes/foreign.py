"""Checkpoints of other libraries built by hand from the descriptions of their formats, with the maths written out."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import one_hot

D, M, K = 6, 20, 3


@dataclass
class Foreign:
    """Config and tensors of a checkpoint, where they go, and what an SAE with them does to x."""

    format: str
    config: dict[str, Any]
    tensors: dict[str, Any]
    codes: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor, Tensor], Tensor]
    """Of codes, and x for those who normalise it."""

    def write(self, folder: Path) -> Path:
        """Write it; returns what to load."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.format == "openai":
            torch.save(self.tensors | self.config, folder / "model.pt")
            return folder / "model.pt"
        name = "config.json" if self.format in ("openmoss", "dictionary_learning") else "cfg.json"
        (folder / name).write_text(json.dumps(self.config))
        if self.format == "dictionary_learning":
            torch.save(self.tensors, folder / "ae.pt")
        else:
            weights = "sae.safetensors" if self.format == "sparsify" else "sae_weights.safetensors"
            save_file({key: value.contiguous() for key, value in self.tensors.items()}, folder / weights)
        return folder


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def top(z: Tensor, k: int = K) -> Tensor:
    return z.relu() * one_hot(z.topk(k, dim=1).indices, z.shape[1]).sum(1)


def standard() -> Foreign:
    W, b, V, c = random(D, M), random(M), random(M, D), random(D)
    config = {"architecture": "standard", "d_in": D, "d_sae": M, "apply_b_dec_to_input": False, "device": "cuda"}
    return Foreign(
        "saelens",
        config | {"metadata": {"sae_lens_version": "6.3.1"}},
        {"W_enc": W, "b_enc": b, "W_dec": V, "b_dec": c},
        lambda x: (x @ W + b).relu(),
        lambda f, x: f @ V + c,
    )


def of_version_5() -> Foreign:
    """TopK under its old keys, with the tensor of ones that was written for a while."""
    W, b, V, c = random(D, M), random(M), random(M, D), random(D)
    config = {
        "d_in": D, "d_sae": M, "activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}, "hook_name": "h",
        "normalize_activations": False, "finetuning_scaling_factor": False, "dtype": "torch.float32",
    }  # fmt: skip
    tensors = {"W_enc": W, "b_enc": b, "W_dec": V, "b_dec": c, "scaling_factor": torch.ones(M)}
    return Foreign("saelens", config, tensors, lambda x: top((x - c) @ W + b), lambda f, x: f @ V + c)


def jumprelu() -> Foreign:
    """With thresholds of zero, and one below, which their ReLU makes zero."""
    W, b, V, c, t = random(D, M), random(M), random(M, D), random(D), random(M).abs()
    t[0], t[1] = 0, -1
    config = {"architecture": "jumprelu", "d_in": D, "d_sae": M, "apply_b_dec_to_input": True}

    def codes(x: Tensor) -> Tensor:
        z = (x - c) @ W + b
        return z.relu() * (z > t)

    return Foreign(
        "saelens",
        config | {"sae_lens_version": "6.0.0-rc.1"},
        {"W_enc": W, "b_enc": b, "W_dec": V, "b_dec": c, "threshold": t},
        codes,
        lambda f, x: f @ V + c,
    )


def gated() -> Foreign:
    W, V, c = random(D, M), random(M, D), random(D)
    gate, mag, r = (random(M, seed=seed) for seed in range(3))
    config = {"architecture": "gated", "d_in": D, "d_sae": M, "apply_b_dec_to_input": False}

    def codes(x: Tensor) -> Tensor:
        return (x @ W + gate > 0) * (x @ (W * r.exp()) + mag).relu()

    return Foreign(
        "saelens",
        config | {"metadata": {"sae_lens_version": "6.0.0"}},
        {"W_enc": W, "W_dec": V, "b_dec": c, "b_gate": gate, "b_mag": mag, "r_mag": r},
        codes,
        lambda f, x: f @ V + c,
    )


def sparsify() -> Foreign:
    W, b, V, c = random(M, D), random(M), random(M, D, seed=1), random(D)
    config = {"activation": "topk", "k": K, "num_latents": M, "expansion_factor": 32, "d_in": D, "signed": False}
    return Foreign(
        "sparsify",
        config | {"multi_topk": True, "transcode": False, "skip_connection": False, "normalize_decoder": True},
        {"encoder.weight": W, "encoder.bias": b, "W_dec": V, "b_dec": c},
        lambda x: top((x - c) @ W.T + b),
        lambda f, x: f @ V + c,
    )


def dictionary() -> Foreign:
    W, b, V, c = random(M, D), random(M), random(D, M, seed=1), random(D)
    trainer = {"dict_class": "AutoEncoderTopK", "activation_dim": D, "dict_size": M, "k": K}
    tensors = {"encoder.weight": W, "encoder.bias": b, "decoder.weight": V, "b_dec": c, "k": torch.tensor(K)}
    return Foreign(
        "dictionary_learning",
        {"trainer": trainer, "buffer": {}},
        tensors | {"threshold": torch.tensor(-1.0)},
        lambda x: top((x - c) @ W.T + b),
        lambda f, x: f @ V.T + c,
    )


def openai() -> Foreign:
    """TopK of layer-normed tokens, whose reconstruction is scaled back without the 1e-5."""
    W, b, V, c = random(M, D), random(M), random(D, M, seed=1), random(D)

    def normalised(x: Tensor) -> Tensor:
        x = x - x.mean(1, keepdim=True)
        return x / (x.std(1, keepdim=True) + 1e-5)

    return Foreign(
        "openai",
        {"activation": "TopK", "activation_state_dict": {"k": K, "postact_fn": "ReLU"}},
        {"encoder.weight": W, "latent_bias": b, "decoder.weight": V, "pre_bias": c}
        | {"stats_last_nonzero": torch.arange(M), "latents_mean_square": torch.ones(M)},
        lambda x: top((normalised(x) - c) @ W.T + b),
        lambda f, x: (f @ V.T + c) * x.std(1, keepdim=True) + x.mean(1, keepdim=True),
    )


def openai_relu() -> Foreign:
    W, b, V, c = random(M, D), random(M), random(D, M, seed=1), random(D)
    tensors = {"encoder.weight": W, "latent_bias": b, "decoder.weight": V, "pre_bias": c}
    return Foreign("openai", {}, tensors, lambda x: ((x - c) @ W.T + b).relu(), lambda f, x: f @ V.T + c)


def openmoss() -> Foreign:
    """JumpReLU by z · ‖decoder row‖, on activations divided by their average norm 2 over √D."""
    W, b, V, c, t = random(D, M), random(M), random(M, D), random(D), random(M, seed=2) - 1
    factor = D**0.5 / 2
    config = {
        "sae_type": "sae", "hook_point_in": "h", "hook_point_out": "h", "d_model": D, "expansion_factor": M / D,
        "act_fn": "jumprelu", "norm_activation": "dataset-wise", "sparsity_include_decoder_norm": True,
        "use_decoder_bias": True, "top_k": 50, "use_glu_encoder": False,
    }  # fmt: skip

    def codes(x: Tensor) -> Tensor:
        z = (factor * x) @ W + b
        return z * (z * V.norm(dim=1) > t.exp()) / factor

    tensors = {"W_E": W, "b_E": b, "W_D": V, "b_D": c, "activation_function.log_jumprelu_threshold": t}
    return Foreign(
        "openmoss",
        config,
        tensors | {"dataset_average_activation_norm.h": torch.tensor(2.0)},
        codes,
        lambda f, x: f @ V + c / factor,
    )


def openmoss_layers() -> Foreign:
    """The same under the names of earlier releases."""
    new = openmoss()
    old = {"W_E": "encoder.weight", "b_E": "encoder.bias", "W_D": "decoder.weight", "b_D": "decoder.bias"}
    old |= {"activation_function.log_jumprelu_threshold": "log_jumprelu_threshold"}
    tensors = {old.get(name, name): t.T if t.ndim == 2 else t for name, t in new.tensors.items()}
    return Foreign("openmoss", new.config, tensors, new.codes, new.decode)


ALL = {
    make.__name__: make
    for make in (
        standard, of_version_5, jumprelu, gated, sparsify, dictionary, openai, openai_relu, openmoss, openmoss_layers,
    )
}  # fmt: skip
