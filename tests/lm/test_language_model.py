"""Hook points against the Hugging Face model's own hidden states; the logit lens against a finite difference."""

from contextlib import nullcontext

import pytest
import torch

from saebench.errors import UserError
from saebench.lm import load_lm
from saebench.lm.plain import unfused_attention


@pytest.fixture
def tokens(tiny_lm):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(1, tiny_lm.d_vocab, (3, 32), generator=generator)


def test_residual_streams_are_the_models_hidden_states(tiny_lm, tokens):
    names = [f"blocks.{layer}.hook_resid_pre" for layer in range(3)] + ["blocks.1.hook_resid_post"]
    found = tiny_lm.activations(tokens, names)
    with torch.no_grad():
        hidden = tiny_lm.bridge.original_model(tokens, output_hidden_states=True).hidden_states
    for layer in range(3):
        torch.testing.assert_close(found[f"blocks.{layer}.hook_resid_pre"], hidden[layer])
    torch.testing.assert_close(found["blocks.1.hook_resid_post"], hidden[2])


def test_parts_of_a_block_add_up(tiny_lm, tokens):
    parts = tiny_lm.activations(
        tokens,
        [f"blocks.1.{kind}" for kind in ("hook_resid_pre", "hook_attn_out", "hook_resid_mid", "hook_mlp_out")]
        + ["blocks.1.hook_resid_post", "blocks.1.attn.hook_z"],
    )
    pre, attn, mid, mlp, post, z = (
        parts[f"blocks.1.{kind}"]
        for kind in (
            "hook_resid_pre", "hook_attn_out", "hook_resid_mid", "hook_mlp_out", "hook_resid_post", "attn.hook_z",
        )
    )  # fmt: skip
    torch.testing.assert_close(pre + attn, mid)
    torch.testing.assert_close(mid + mlp, post)
    block = tiny_lm.bridge.original_model.transformer.h[1]
    torch.testing.assert_close(block.attn.c_proj(z), attn)


def test_the_pass_stops_at_the_last_hook_point(tiny_lm, tokens):
    reached = []
    handle = tiny_lm.plain.transformer.h[1].mlp.register_forward_pre_hook(lambda *_: reached.append(1))
    try:
        tiny_lm.activations(tokens, ["blocks.1.hook_attn_out", "blocks.0.hook_resid_post"])
        assert not reached
        tiny_lm.activations(tokens, ["blocks.1.hook_mlp_out"])
        assert reached
    finally:
        handle.remove()


@pytest.mark.parametrize(
    "kind", ["hook_resid_pre", "hook_resid_mid", "hook_mlp_out", "hook_attn_out", "attn.hook_z", "attn.hook_q"]
)
def test_the_plain_model_says_what_the_bridge_says(tiny_lm, tokens, kind):
    name = f"blocks.2.{kind}"
    _, cache = tiny_lm.bridge.run_with_cache(tokens, names_filter=[name])
    torch.testing.assert_close(tiny_lm.activations(tokens, [name])[name], cache[name].flatten(2), rtol=1e-4, atol=1e-4)
    assert (tiny_lm._places[name] is None) == (kind == "attn.hook_q")


@pytest.mark.parametrize("unfused", [False, True])
def test_the_plain_model_has_one_gelu_and_two_ways_to_attend(tiny_lm, tokens, unfused):
    with torch.no_grad(), unfused_attention(tiny_lm.plain) if unfused else nullcontext():
        assert tiny_lm.plain.config._attn_implementation == ("eager" if unfused else "sdpa")
        found = tiny_lm.plain(tokens).logits
        torch.testing.assert_close(found, tiny_lm.bridge.original_model(tokens).logits, atol=1e-4, rtol=1e-4)
    assert tiny_lm.plain.config._attn_implementation == "sdpa"
    kinds = {type(module).__name__ for module in tiny_lm.plain.modules()}
    assert "GELUTanh" in kinds
    assert "NewGELUActivation" not in kinds
    theirs = {type(module).__name__ for module in tiny_lm.bridge.original_model.modules()}
    assert "GELUTanh" not in theirs


def test_loss_is_cross_entropy_of_the_hugging_face_model(tiny_lm, tokens):
    with torch.no_grad():
        logits = tiny_lm.bridge.original_model(tokens).logits
    expected = -logits[:, :-1].log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]
    torch.testing.assert_close(tiny_lm.loss(tokens), expected)


@pytest.mark.parametrize("hook_point", ["blocks.2.hook_resid_post", "blocks.2.attn.hook_z"])
def test_the_logit_lens_is_the_direct_effect_on_the_logits(tiny_lm, hook_point):
    """With the norm's scale held at one, logits move along a direction as the lens says (attn.hook_z: via W_O)."""
    model = tiny_lm.bridge.original_model
    generator = torch.Generator().manual_seed(2)
    direction = torch.randn(2, 32, generator=generator)
    with torch.no_grad():
        in_stream = direction
        if hook_point.endswith("hook_z"):
            projection = model.transformer.h[2].attn.c_proj
            in_stream = projection(direction) - projection(torch.zeros_like(direction))
        norm = model.transformer.ln_f
        centred = in_stream - in_stream.mean(-1, keepdim=True)
        expected = (centred * norm.weight) @ model.lm_head.weight.T
    torch.testing.assert_close(tiny_lm.logit_lens(direction, hook_point), expected, rtol=1e-4, atol=1e-4)


def test_the_identity_follows_the_weights(tiny_folder, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(tiny_folder, copy)
    assert load_lm(str(copy)).sha256 == load_lm(str(tiny_folder)).sha256
    weights = copy / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    assert load_lm(str(copy)).sha256 != load_lm(str(tiny_folder)).sha256


def test_what_cannot_be_opened_says_why(tiny_lm, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="does not exist"):
        load_lm("./nowhere")
    with pytest.raises(UserError, match=r"no config\.json"):
        load_lm(str(tmp_path))
    with pytest.raises(UserError, match="cannot open model 'no-such-org/no-such-model'"):
        load_lm("no-such-org/no-such-model")
    with pytest.raises(UserError, match="device 'cuda:99' cannot be used"):
        load_lm("demo", device="cuda:99")
    with pytest.raises(UserError, match=r"no hook point 'blocks.9.hook_resid_post'; nearest: blocks\.[012]\."):
        tiny_lm.check_hook_points(["blocks.9.hook_resid_post"])
