"""OpenMOSS: every activation function as saved by their own class."""

import math

import pytest
import torch
from llamascopium.models.sae import SAEConfig, SparseAutoEncoder
from random_saes import D, M, shake

from saebench.saes import formats

HOOK = "blocks.0.hook_resid_post"


def made(folder, act_fn: str, **settings) -> SparseAutoEncoder:
    """A random one of theirs, saved as they save it."""
    config = SAEConfig(
        hook_point_in=HOOK, hook_point_out=HOOK, d_model=D, expansion_factor=M / D, act_fn=act_fn, top_k=5, **settings
    )
    theirs = SparseAutoEncoder(config)
    shake(theirs)
    if config.norm_activation == "dataset-wise":
        theirs.set_dataset_average_activation_norm({HOOK: 7.0})
    theirs.save_pretrained(folder)
    config.save_hyperparameters(folder)
    return theirs


def peer(theirs: SparseAutoEncoder, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Their codes and reconstruction, activations divided by their average norm before and multiplied after."""
    factor = math.sqrt(D) / 7.0 if theirs.cfg.norm_activation == "dataset-wise" else 1.0
    codes = theirs.encode(x * factor)
    output = theirs.decode(codes) / factor
    if theirs.cfg.sparsity_include_decoder_norm and "topk" in theirs.cfg.act_fn:
        codes = codes * theirs.decoder_norm()
    return codes / factor, output


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("by_norm", [False, True])
@pytest.mark.parametrize("norm", ["inference", "dataset-wise"])
@pytest.mark.parametrize("act_fn", ["relu", "topk", "batchtopk", "jumprelu"])
def test_theirs_in_ours(tmp_path, x, agree, act_fn, norm, by_norm):
    theirs = made(tmp_path, act_fn, norm_activation=norm, sparsity_include_decoder_norm=by_norm)
    sae = formats.load(tmp_path)
    if act_fn == "batchtopk":
        sae.train()
    with torch.no_grad():
        variant = f"{act_fn}, {norm}{', by decoder norm' if by_norm else ''}"
        agree("OpenMOSS", variant, "theirs → ours", sae, *peer(theirs, x))


@pytest.mark.filterwarnings("ignore")
def test_their_own_fold(tmp_path, x):
    """Codes are on the scale of their inference mode (whose thresholds they do not scale: so ReLU)."""
    made(tmp_path, "relu")
    theirs = SparseAutoEncoder.from_pretrained(str(tmp_path), fold_activation_scale=True)
    sae = formats.load(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(sae.encode(x).to_dense(), theirs.encode(x), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(sae(x), theirs.decode(theirs.encode(x)), rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_without_a_decoder_bias(tmp_path, x, agree):
    theirs = made(tmp_path, "relu", use_decoder_bias=False, norm_activation="inference")
    with torch.no_grad():
        agree("OpenMOSS", "relu, no decoder bias", "theirs → ours", formats.load(tmp_path), *peer(theirs, x))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"use_glu_encoder": True}, "use_glu_encoder"),
        ({"norm_activation": "token-wise"}, "norm_activation is 'token-wise'"),
    ],
)
def test_without_counterpart(tmp_path, settings, message):
    made(tmp_path, "relu", **settings)
    with pytest.raises(ValueError, match=message):
        formats.load(tmp_path)
