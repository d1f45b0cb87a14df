"""Interventions against plain forward hooks on transformers' own model, with the sums written out by hand."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from saebench.errors import UserError
from saebench.interventions import (
    Add,
    AnyIntervention,
    Cap,
    CapProjection,
    Clamp,
    ClampActive,
    Hooked,
    Project,
    Scale,
    Zero,
    generate,
    intervened,
)
from saebench.interventions.needed import activations_of
from saebench.lm import LanguageModel, load_lm
from saebench.saes import SAE, Gated, JumpReLU, ReLU, TopK

WIDTH, N = 256, 512
POINTS = {
    "blocks.1.hook_resid_post": lambda hf: (hf.transformer.h[1], "out"),
    "blocks.2.hook_resid_pre": lambda hf: (hf.transformer.h[2], "in"),
    "blocks.1.hook_mlp_out": lambda hf: (hf.transformer.h[1].mlp, "out"),
    "blocks.3.hook_attn_out": lambda hf: (hf.transformer.h[3].attn, "out"),
    "blocks.2.attn.hook_z": lambda hf: (hf.transformer.h[2].attn.c_proj, "in"),
}


def make_sae(seed: int = 0, scale: float = 1.0, **how: object) -> SAE:
    """A random SAE with biases, whose decoder rows need not have unit norm."""
    generator = torch.Generator().manual_seed(seed)
    sae = SAE.create(WIDTH, N, how.pop("rule", TopK(k=16)), seed, **how)
    with torch.no_grad():
        sae.b_dec.copy_(0.1 * torch.randn(WIDTH, generator=generator))
        sae.b_enc.copy_(0.1 * torch.randn(N, generator=generator))
        sae.W_dec.mul_(scale)
    return sae.eval()


def dense_topk(sae: SAE, x: Tensor) -> Tensor:
    pre = (x - sae.b_dec) @ sae.W_enc.T + sae.b_enc
    kth = pre.topk(16, dim=-1).values[..., -1:]
    return torch.where(pre >= kth, pre, 0).clamp_min(0)


def by_hand(hf: nn.Module, tokens: Tensor, where: tuple, change) -> Tensor:  # type: ignore[no-untyped-def]
    """Logits with `change` added to all positions but the first."""
    module, end = where

    def changed(x: Tensor) -> Tensor:
        x = x.clone()
        x[:, 1:] += change(x[:, 1:])
        return x

    def after(_m, _i, out):  # type: ignore[no-untyped-def]
        return (changed(out[0]), *out[1:]) if isinstance(out, tuple) else changed(out)

    def before(_m, given, named):  # type: ignore[no-untyped-def]
        return ((changed(given[0]), *given[1:]), named)

    handle = (
        module.register_forward_hook(after)
        if end == "out"
        else module.register_forward_pre_hook(before, with_kwargs=True)
    )
    with torch.no_grad():
        logits = hf(tokens).logits
    handle.remove()
    return logits


@pytest.mark.parametrize("point", list(POINTS))
def test_adding_and_removing_equal_hooks_by_hand(lm, hf, tokens, point: str):
    sae = make_sae(scale=1.7)
    x = lm.activations(tokens, [point])[point][0, 1:]
    feature = int(dense_topk(sae, x).sum(0).argmax())
    saes = {"s": Hooked(sae, point)}
    for intervention, change in (
        (Add(sae="s", feature=feature, activation=3.0), lambda x: 3.0 * sae.W_dec[feature]),
        (Zero(sae="s", feature=feature), lambda x: -dense_topk(sae, x)[..., feature, None] * sae.W_dec[feature]),
    ):
        truth = by_hand(hf, tokens, POINTS[point](hf), change)
        assert not torch.allclose(truth, hf(tokens).logits, atol=1e-2)
        with intervened(lm, [intervention], saes):
            torch.testing.assert_close(lm.run(tokens)[0], truth, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(lm.bridge(tokens, return_type="logits"), truth, atol=2e-3, rtol=1e-3)


def test_several_saes_and_layers_at_once(lm, hf, tokens):
    a, b, c = (make_sae(seed) for seed in range(3))
    early, late = "blocks.0.hook_resid_post", "blocks.2.hook_resid_post"
    saes = {"a": Hooked(a, early), "b": Hooked(b, late), "c": Hooked(c, late)}
    both = [
        Add(sae="b", feature=5, activation=2.0),
        Zero(sae="c", feature=9),
        Add(sae="a", feature=1, activation=-1.5),
        Add(sae="b", feature=5, activation=1.0),
    ]
    handle = hf.transformer.h[0].register_forward_hook(lambda m, i, out: _add_behind_first(out, -1.5 * a.W_dec[1]))
    truth = by_hand(
        hf,
        tokens,
        (hf.transformer.h[2], "out"),
        lambda x: 3.0 * b.W_dec[5] - dense_topk(c, x)[..., 9, None] * c.W_dec[9],
    )
    handle.remove()
    with intervened(lm, both, saes):
        torch.testing.assert_close(lm.run(tokens)[0], truth, atol=1e-4, rtol=1e-4)


def _add_behind_first(out, row: Tensor):  # type: ignore[no-untyped-def]
    x = (out[0] if isinstance(out, tuple) else out).clone()
    x[:, 1:] += row
    return (x, *out[1:]) if isinstance(out, tuple) else x


def test_the_order_of_interventions_on_a_feature_counts(lm, tokens):
    saes = {"s": Hooked(make_sae(), "blocks.1.hook_resid_post")}
    add, zero = Add(sae="s", feature=3, activation=2.0), Zero(sae="s", feature=3)
    logits = {}
    for name, order in {"add": [add], "zero": [zero], "add, zero": [add, zero], "zero, add": [zero, add]}.items():
        with intervened(lm, order, saes):
            logits[name] = lm.run(tokens)[0]
    torch.testing.assert_close(logits["add, zero"], logits["zero"])
    with intervened(lm, [zero], saes), intervened(lm, [add], saes):  # a context in a context comes after it
        torch.testing.assert_close(lm.run(tokens)[0], logits["zero, add"], atol=1e-4, rtol=1e-4)


def test_layer_normed_saes_write_in_the_scale_of_their_token(lm, hf, tokens):
    sae, point = make_sae(normalise="layer_norm"), "blocks.1.hook_resid_post"

    def removed(x: Tensor) -> Tensor:
        centred = (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-5)
        return -dense_topk(sae, centred)[..., feature, None] * sae.W_dec[feature] * x.std(-1, keepdim=True)

    x = lm.activations(tokens, [point])[point][0, 1:]
    feature = int(dense_topk(sae, (x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True)).sum(0).argmax())
    truth = by_hand(hf, tokens, POINTS[point](hf), removed)
    with intervened(lm, [Zero(sae="s", feature=feature)], {"s": Hooked(sae, point)}):
        torch.testing.assert_close(lm.run(tokens)[0], truth, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("rule", [TopK(k=16), ReLU(), JumpReLU(), Gated()])
def test_a_few_features_encoded_alone_are_those_of_the_whole(rule):
    sae, x = make_sae(rule=rule), torch.randn(40, WIDTH)
    if rule.name == "jumprelu":
        torch.nn.init.uniform_(sae.log_threshold, -2, 1)
    if rule.name == "gated":
        torch.nn.init.normal_(sae.b_gate)
        torch.nn.init.normal_(sae.r_mag, std=0.1)
    features = torch.tensor([2, 77, 400])
    with torch.no_grad():
        truth = sae.encode(x).to_dense()[:, features]
        assert (truth > 0).any()
        torch.testing.assert_close(activations_of(sae, features)(x), truth)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_zero_strength_changes_nothing(tokens, precision: str):
    lm = load_lm(precision=precision)
    clean = lm.run(tokens)[0]
    for point in POINTS:
        with intervened(lm, [Add(sae="s", feature=3, activation=0.0)], {"s": Hooked(make_sae(), point)}):
            assert float((lm.run(tokens)[0] - clean).abs().max()) <= 1e-5
        with intervened(lm, [Add(sae="s", feature=3, activation=20.0)], {"s": Hooked(make_sae(), point)}):
            assert float((lm.run(tokens)[0] - clean).abs().max()) > 1e-2


def test_begin_tokens_are_left_alone(lm, tokens):
    with intervened(
        lm, [Add(sae="s", feature=3, activation=50.0)], {"s": Hooked(make_sae(), "blocks.0.hook_resid_post")}
    ):
        changed = lm.activations(tokens, ["blocks.0.hook_resid_post"])["blocks.0.hook_resid_post"]
    clean = lm.activations(tokens, ["blocks.0.hook_resid_post"])["blocks.0.hook_resid_post"]
    moved = (changed - clean).norm(dim=-1)[0]
    assert moved[0] == 0
    torch.testing.assert_close(moved[1:], torch.full_like(moved[1:], 50.0), atol=1e-3, rtol=1e-4)


def test_greedy_generation_with_a_cache_equals_generation_without(lm, hf, tokens):
    sae, point = make_sae(), "blocks.1.hook_resid_post"
    x = lm.activations(tokens, [point])[point][0, 1:]
    feature = int(dense_topk(sae, x).sum(0).argmax())
    both = [Zero(sae="s", feature=feature), Add(sae="s", feature=7, activation=4.0)]
    text = tokens
    for _ in range(12):
        change = lambda x: 4.0 * sae.W_dec[7] - dense_topk(sae, x)[..., feature, None] * sae.W_dec[feature]  # noqa: E731
        logits = by_hand(hf, text, POINTS[point](hf), change)
        text = torch.cat([text, logits[:, -1:].argmax(-1)], 1)
    with intervened(lm, both, {"s": Hooked(sae, point)}):
        found = generate(lm, tokens[0], 12)
    assert found.tokens.tolist() == text[0, tokens.shape[1] :].tolist()
    assert generate(lm, tokens[0], 12).tokens.tolist() != found.tokens.tolist()


def test_drawn_tokens_follow_the_distribution_and_the_seed(lm, tokens):
    prompt = tokens[0]
    logits = generate(lm, prompt, 0).logits
    shares = torch.softmax(logits.double() / 0.7, 0)
    drawn = [int(generate(lm, prompt, 1, temperature=0.7, seed=seed).tokens[0]) for seed in range(300)]
    likeliest = int(shares.argmax())
    assert drawn.count(likeliest) / 300 == pytest.approx(float(shares[likeliest]), abs=0.1)
    again = [generate(lm, prompt, 20, temperature=1.0, seed=5).tokens.tolist() for _ in range(2)]
    assert again[0] == again[1] != generate(lm, prompt, 20, temperature=1.0, seed=6).tokens.tolist()


def test_the_model_is_left_unhooked_also_after_errors(lm, tokens):
    clean = lm.run(tokens)[0]
    hooks = _hooks(lm)
    saes = {"s": Hooked(make_sae(), "blocks.1.hook_resid_post")}
    with pytest.raises(KeyError), intervened(lm, [Add(sae="s", feature=3, activation=9.0)], saes):
        {}[float(lm.run(tokens)[0].sum())]
    narrow = {"s": Hooked(SAE.create(8, 16, TopK(k=2)).eval(), "blocks.1.hook_resid_post")}
    with pytest.raises(UserError, match="width 8"), intervened(lm, [Zero(sae="s", feature=3)], narrow):
        lm.run(tokens)
    assert _hooks(lm) == hooks
    assert torch.equal(lm.run(tokens)[0], clean)


def _hooks(lm: LanguageModel) -> int:
    modules = [*lm.plain.modules(), *lm.bridge.modules(), *lm.bridge.hook_dict.values()]
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules)


def test_loss_with_its_own_hooks_happens_inside(lm, tokens):
    saes = {"s": Hooked(make_sae(), "blocks.1.hook_resid_post")}
    with intervened(lm, [Add(sae="s", feature=3, activation=9.0)], saes):
        inside = lm.loss(tokens)
        lm.loss(tokens, [("blocks.0.hook_resid_post", lambda value, hook: value)])
        torch.testing.assert_close(lm.loss(tokens), inside)
        logits = lm.run(tokens)[0][0, :-1]
    truth = torch.nn.functional.cross_entropy(logits, tokens[0, 1:], reduction="none")
    torch.testing.assert_close(inside[0], truth, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("intervention", "point", "cause"),
    [
        (Add(sae="other", feature=1, activation=1), "blocks.1.hook_resid_post", "no SAE 'other'"),
        (Zero(sae="s", feature=N), "blocks.1.hook_resid_post", f"no feature {N}; it has 0 to {N - 1}"),
        (Zero(sae="s", feature=1), "blocks.9.hook_resid_post", "no hook point"),
        (Zero(sae="s", feature=1), "blocks.1.hook_resid_mid", "read but not changed"),
        (Add(sae="s", feature=1, activation=3e38), "blocks.1.hook_resid_post", "overflow"),
    ],
)
def test_what_cannot_be_done_is_said(lm, tokens, intervention, point: str, cause: str):
    with (
        pytest.raises(UserError, match=cause),
        intervened(lm, [intervention], {"s": Hooked(make_sae(scale=10), point)}),
    ):
        generate(lm, tokens[0], 3)


@pytest.mark.parametrize(
    "made",
    [
        lambda f: Add(sae="s", feature=f, activation=1e38),
        lambda f: Add(sae="s", feature=f, activation=-1e20),
        lambda f: Scale(sae="s", feature=f, factor=1e38),
        lambda f: Clamp(sae="s", feature=f, activation=1e300),
        lambda f: ClampActive(sae="s", feature=f, activation=-1e38),
        lambda f: Cap(sae="s", feature=f, activation=-1e38),
        lambda f: Project(sae="s", feature=f, factor=1e38),
        lambda f: CapProjection(sae="s", feature=f, activation=-1e38),
    ],
    ids=["add", "less", "scale", "clamp", "clamp_active", "cap", "project", "cap_projection"],
)
@pytest.mark.parametrize("point", ["blocks.1.hook_resid_post", "blocks.2.attn.hook_z", "blocks.3.hook_resid_post"])
def test_finite_strengths_that_overflow_further_on_are_an_error(lm, tokens, made, point: str):
    """A vector of 1e37 is finite, and its norm is not: layer norm makes zeros of it, and logits that look sound."""
    clean, hooks = lm.run(tokens)[0], _hooks(lm)
    sae = make_sae()
    feature = int(dense_topk(sae, lm.activations(tokens, [point])[point][0, 1:]).sum(0).argmax())
    own = [made(feature)]
    with pytest.raises(UserError, match="overflow") as error, intervened(lm, own, {"s": Hooked(sae, point)}):
        generate(lm, tokens[0], 3)
    assert f"activations at {point} overflow under this change of them; use smaller strengths" in str(error.value)
    assert _hooks(lm) == hooks
    assert torch.equal(lm.run(tokens)[0], clean)


def test_large_strengths_that_do_not_overflow_are_computed(lm, hf, tokens):
    """A million times the vector itself: beyond all use, and yet what transformers' own model makes of it."""
    sae, point = make_sae(), "blocks.1.hook_resid_post"
    truth = by_hand(hf, tokens, POINTS[point](hf), lambda x: 1e8 * sae.W_dec[3])
    with intervened(lm, [Add(sae="s", feature=3, activation=1e8)], {"s": Hooked(sae, point)}):
        torch.testing.assert_close(lm.run(tokens)[0], truth, atol=1e-3, rtol=1e-3)


def test_generation_that_cannot_be(lm, tokens):
    with pytest.raises(UserError, match="do not fit the model's context of 256"):
        generate(lm, tokens[0], 256)
    with pytest.raises(UserError, match="no token to continue"):
        generate(lm, tokens[0, :0], 5)


def test_generation_stops_at_the_end_token(lm, tokens, monkeypatch):
    following = int(generate(lm, tokens[0], 3).tokens[2])
    first_at = generate(lm, tokens[0], 3).tokens.tolist().index(following)
    monkeypatch.setattr(lm, "tokenizer", SimpleNamespace(eos_token_id=following, all_special_ids=[following]))
    assert len(generate(lm, tokens[0], 10).tokens) == first_at


def test_interventions_are_values(tmp_path: Path):
    some = [Add(sae="a.b", feature=1, activation=-2.5), Zero(sae="c", feature=0)]
    adapter = TypeAdapter(list[AnyIntervention])
    assert adapter.validate_json(adapter.dump_json(some)) == some
    assert json.loads(adapter.dump_json(some))[0] == {"sae": "a.b", "feature": 1, "kind": "add", "activation": -2.5}
    for wrong in ({"kind": "add", "sae": "a", "feature": -1, "activation": 1}, {"kind": "explode", "sae": "a"}):
        with pytest.raises(ValidationError):
            adapter.validate_python([wrong])
    with pytest.raises(ValidationError):
        Add(sae="a", feature=1, activation=float("nan"))


def test_a_hook_point_that_only_the_bridge_has(lm, tokens, monkeypatch):
    point = "blocks.2.attn.hook_z"
    saes = {"s": Hooked(make_sae(), point)}
    with intervened(lm, [Add(sae="s", feature=3, activation=6.0)], saes):
        logits, activations, _ = lm.run(tokens, [point])
        text = generate(lm, tokens[0], 8).tokens
    monkeypatch.setitem(lm._places, point, None)
    with intervened(lm, [Add(sae="s", feature=3, activation=6.0)], saes):
        bridged = lm.run(tokens, [point])
        torch.testing.assert_close(bridged[0], logits, atol=2e-3, rtol=1e-3)
        torch.testing.assert_close(bridged[1][point], activations[point], atol=2e-3, rtol=1e-3)
        assert generate(lm, tokens[0], 8).tokens.tolist() == text.tolist()
