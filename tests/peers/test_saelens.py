"""SAELens: every architecture, both ways, through their own classes, `load_from_disk` and `save_model`."""

import json

import pytest
import torch
from random_saes import OURS, D, M, ours, shake
from sae_lens import (
    SAE,
    BatchTopKTrainingSAE,
    BatchTopKTrainingSAEConfig,
    GatedSAE,
    GatedSAEConfig,
    GatedTrainingSAE,
    GatedTrainingSAEConfig,
    JumpReLUSAE,
    JumpReLUSAEConfig,
    JumpReLUTrainingSAE,
    JumpReLUTrainingSAEConfig,
    MatryoshkaBatchTopKTrainingSAE,
    MatryoshkaBatchTopKTrainingSAEConfig,
    StandardSAE,
    StandardSAEConfig,
    StandardTrainingSAE,
    StandardTrainingSAEConfig,
    TopKSAE,
    TopKSAEConfig,
    TopKTrainingSAE,
    TopKTrainingSAEConfig,
)

from saebench.saes import BatchTopK, Matryoshka, formats

SERVED = {
    "standard": (StandardSAE, StandardSAEConfig, {}),
    "topk": (TopKSAE, TopKSAEConfig, {"k": 5}),
    "topk rescaled": (TopKSAE, TopKSAEConfig, {"k": 5, "rescale_acts_by_decoder_norm": True}),
    "jumprelu": (JumpReLUSAE, JumpReLUSAEConfig, {}),
    "gated": (GatedSAE, GatedSAEConfig, {}),
}
SETTINGS = {
    "": {},
    ", x not centred": {"apply_b_dec_to_input": False},
    ", layer norm": {"normalize_activations": "layer_norm"},
    ", layer norm, x not centred": {"normalize_activations": "layer_norm", "apply_b_dec_to_input": False},
}
TRAINED = {
    "standard": (StandardTrainingSAE, StandardTrainingSAEConfig, {}),
    "topk": (TopKTrainingSAE, TopKTrainingSAEConfig, {"k": 5}),
    "topk not rescaled": (TopKTrainingSAE, TopKTrainingSAEConfig, {"k": 5, "rescale_acts_by_decoder_norm": False}),
    "jumprelu": (JumpReLUTrainingSAE, JumpReLUTrainingSAEConfig, {}),
    "gated": (GatedTrainingSAE, GatedTrainingSAEConfig, {}),
    "batchtopk": (BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig, {"k": 5}),
    "matryoshka": (
        MatryoshkaBatchTopKTrainingSAE,
        MatryoshkaBatchTopKTrainingSAEConfig,
        {"k": 5.0, "matryoshka_widths": [24, 48, 96]},
    ),
}


@pytest.mark.parametrize("normalise", ["none", "layer_norm"])
@pytest.mark.parametrize("name", OURS)
def test_ours_in_theirs(tmp_path, x, agree, name, normalise):
    sae = ours(OURS[name], normalise)
    formats.save(sae, tmp_path, "saelens")
    theirs = SAE.load_from_disk(tmp_path)
    with torch.no_grad():
        codes = theirs.encode(x)
        agree("SAELens", f"{name}, {normalise}", "ours → theirs", sae, codes, theirs.decode(codes))
    again = formats.load(tmp_path)
    with torch.no_grad():
        codes = theirs.encode(x)
        agree("SAELens", f"{name}, {normalise}", "→ theirs → ours", again, codes, theirs.decode(codes))


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", SERVED)
def test_theirs_in_ours(tmp_path, x, agree, name, settings):
    kind, config, more = SERVED[name]
    theirs = kind(config(d_in=D, d_sae=M, **more, **SETTINGS[settings]))
    shake(theirs)
    theirs.save_model(tmp_path)
    with torch.no_grad():
        codes = theirs.encode(x)
        agree("SAELens", name + settings, "theirs → ours", formats.load(tmp_path), codes, theirs.decode(codes))


def trained(name: str):
    """A training SAE of theirs with random weights and a threshold."""
    kind, config, more = TRAINED[name]
    theirs = kind(config(d_in=D, d_sae=M, **more))
    shake(theirs)
    if hasattr(theirs, "topk_threshold"):
        theirs.topk_threshold.fill_(0.7)
    return theirs


@pytest.mark.parametrize("name", TRAINED)
def test_their_training_checkpoints(tmp_path, x, agree, name):
    """A checkpoint of a training SAE serves as the inference SAE that they make of it."""
    theirs = trained(name)
    theirs.save_model(tmp_path / "checkpoint")
    theirs.save_inference_model(tmp_path / "final")
    final = SAE.load_from_disk(tmp_path / "final")
    with torch.no_grad():
        codes = final.encode(x)
        for folder in ("checkpoint", "final"):
            sae = formats.load(tmp_path / folder)
            agree("SAELens", f"{name}, training's {folder}", "theirs → ours", sae, codes, final.decode(codes))


def test_checkpoints_keep_their_rule(tmp_path):
    for name in ("batchtopk", "matryoshka"):
        trained(name).save_model(tmp_path / name)
    assert formats.load(tmp_path / "batchtopk").rule == BatchTopK(5)
    assert formats.load(tmp_path / "matryoshka").rule == Matryoshka(5, prefixes=(0.25, 0.5, 1.0))


@pytest.mark.parametrize("name", TRAINED)
def test_scaled_activations(tmp_path, x, agree, name):
    """A checkpoint of a run on scaled activations serves as what they fold at the run's end."""
    theirs = trained(name)
    theirs.cfg.normalize_activations = "expected_average_only_in"
    theirs.save_model(tmp_path)
    (tmp_path / "activation_scaler.json").write_text(json.dumps({"scaling_factor": 0.4}))
    with pytest.warns(UserWarning, match="scaled by in training"):
        sae = formats.load(tmp_path)
    theirs.fold_activation_norm_scaling_factor(0.4)
    theirs.save_inference_model(tmp_path / "final")
    final = SAE.load_from_disk(tmp_path / "final")
    with torch.no_grad():
        codes = final.encode(x)
        agree("SAELens", f"{name}, scaled activations", "theirs → ours", sae, codes, final.decode(codes))


@pytest.mark.parametrize("name", ["topk", "jumprelu", "gated"])
def test_half_precision(tmp_path, x, agree, name):
    """16-bit weights stay so on disk; they load them as what keeps every threshold exact."""
    sae = ours(OURS[name]).bfloat16()
    formats.save(sae, tmp_path, "saelens")
    theirs = SAE.load_from_disk(tmp_path, dtype="float32")
    with torch.no_grad():
        codes = theirs.encode(x)
        output = theirs.decode(codes).bfloat16().float()
        agree("SAELens", f"{name}, bfloat16", "ours → theirs", sae, codes, output)
    assert formats.load(tmp_path).W_enc.dtype == torch.bfloat16


def test_attention_heads(tmp_path, x):
    config = StandardSAEConfig(d_in=D, d_sae=M, reshape_activations="hook_z")
    config.metadata.hook_name = "blocks.0.attn.hook_z"
    theirs = StandardSAE(config)
    shake(theirs)
    theirs.save_model(tmp_path)
    with pytest.warns(UserWarning, match="flattened"):
        sae = formats.load(tmp_path)
    with torch.no_grad():
        heads = theirs(x.view(-1, 4, 6))
        torch.testing.assert_close(sae(x).view_as(heads), heads, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["transcoder", "matching_pursuit", "temporal"])
def test_architectures_without_counterpart(tmp_path, name):
    theirs = StandardSAE(StandardSAEConfig(d_in=D, d_sae=M))
    theirs.save_model(tmp_path)
    path = tmp_path / "cfg.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"architecture": name}))
    with pytest.raises(ValueError, match=f"architecture is '{name}'; saebench reads standard, topk"):
        formats.load(tmp_path)
