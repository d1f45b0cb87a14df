"""Every kind of intervention against decode(f') + error, on whole texts and in generation with a cache."""

import json

import pytest
import torch
from dense import K, N, codes, decode, logits, make_sae, often_fired
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from saebench.interventions import (
    Add,
    AnyIntervention,
    Cap,
    CapProjection,
    Clamp,
    ClampActive,
    Fires,
    Hooked,
    Often,
    Project,
    Scale,
    Tokens,
    Zero,
    generate,
    intervened,
)
from saebench.interventions.needed import activations_of
from saebench.saes import (
    SAE,
    Archetypal,
    BatchTopK,
    FeatureChoice,
    JumpReLU,
    JumpReLUTanh,
    Matryoshka,
    MutualChoice,
    ReLU,
    TopK,
)

POINT = "blocks.1.hook_resid_post"
FORMULAS = {
    "add": (lambda **o: Add(activation=3.0, **o), lambda f: f + 3.0),
    "scale": (lambda **o: Scale(factor=-1.5, **o), lambda f: -1.5 * f),
    "clamp": (lambda **o: Clamp(activation=2.5, **o), lambda f: 0 * f + 2.5),
    "clamp_active": (lambda **o: ClampActive(activation=-6.0, **o), lambda f: torch.where(f > 0, -6.0, f)),
    "clamp_prime": (
        lambda **o: ClampActive(activation=-6.0, above=1.0, **o),
        lambda f: torch.where(f > 1.0, -6.0, f),
    ),
    "zero": (lambda **o: Zero(**o), lambda f: 0 * f),
    "cap": (lambda **o: Cap(activation=0.7, **o), lambda f: f.clamp_max(0.7)),
}
RULES = {"topk": TopK(k=K), "jumprelu": JumpReLU()}


def changed(sae: SAE, x: Tensor, features: list[int], formula, where: Tensor) -> Tensor:
    """decode(f') + (x − decode(f)) where `where` says."""
    f = codes(sae, x)
    after = f.clone()
    after[..., features] = formula(f[..., features])
    return torch.where(where[..., None], decode(sae, after) + x - decode(sae, f), x)


def behind_first(tokens: Tensor) -> Tensor:
    return torch.arange(tokens.shape[1]) > 0


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", FORMULAS)
def test_each_kind_is_its_formula_and_the_error_stays(lm, hf, tokens, kind: str, rule: str):
    sae = make_sae(rule=RULES[rule])
    make, formula = FORMULAS[kind]
    features = often_fired(sae, hf, tokens, POINT)[:3]
    truth = logits(hf, tokens, {POINT: lambda x: changed(sae, x, features, formula, behind_first(tokens))})
    assert not torch.allclose(truth, logits(hf, tokens, {}), atol=1e-2)
    saes = {"s": Hooked(sae, POINT)}
    for same in ([make(sae="s", feature=tuple(features))], [make(sae="s", feature=one) for one in features[::-1]]):
        with intervened(lm, same, saes):
            torch.testing.assert_close(lm.run(tokens)[0], truth, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", FORMULAS)
def test_generation_with_a_cache_is_recomputation_without(lm, hf, tokens, kind: str):
    sae = make_sae()
    make, formula = FORMULAS[kind]
    features = often_fired(sae, hf, tokens, POINT)[:4]
    text, first = tokens, None
    for _ in range(6):
        out = logits(hf, text, {POINT: lambda x: changed(sae, x, features, formula, behind_first(text))})  # noqa: B023
        first = out[0, -1] if first is None else first
        text = torch.cat([text, out[:, -1:].argmax(-1)], 1)
    with intervened(lm, [make(sae="s", feature=tuple(features))], {"s": Hooked(sae, POINT)}):
        found = generate(lm, tokens[0], 6)
        bridged = lm.bridge.generate(tokens, max_new_tokens=6, do_sample=False, verbose=False, stop_at_eos=False)
    torch.testing.assert_close(found.logits, first, atol=1e-4, rtol=1e-4)
    assert found.tokens.tolist() == text[0, tokens.shape[1] :].tolist()
    assert bridged[0].tolist() == text[0].tolist()


@pytest.mark.parametrize("point", ["blocks.1.hook_resid_post", "blocks.1.hook_mlp_out", "blocks.2.attn.hook_z"])
@pytest.mark.parametrize("how", ["none", "layer_norm"])
def test_a_reconstruction_and_its_error_leave_the_logits_unchanged(lm, tokens, point: str, how: str):
    clean, saes = lm.run(tokens)[0], {"s": Hooked(make_sae(normalise=how), point)}
    everything = tuple(range(N))
    for nothing in (
        Scale(sae="s", feature=everything, factor=1.0),
        Add(sae="s", feature=everything, activation=0.0),
        Project(sae="s", feature=everything[:20], factor=1.0),
        Cap(sae="s", feature=everything, activation=1e6),
        Clamp(sae="s", feature=3, activation=5.0, when=Fires(above=1e6)),
    ):
        with intervened(lm, [nothing], saes):
            assert float((lm.run(tokens)[0] - clean).abs().max()) <= 1e-5


def held(lm, tokens: Tensor) -> Tensor:
    return lm.activations(tokens, [POINT])[POINT][0, 1:]


@pytest.mark.parametrize("factor", [0.0, -0.5, 2.0])
def test_projections_beside_each_other_are_onto_the_span_of_their_rows(lm, tokens, factor: float):
    sae, features = make_sae(), [3, 77, 200]
    with torch.no_grad():
        sae.W_dec[77] = 0.9 * sae.W_dec[3] + 0.3 * sae.W_dec[78]  # far from orthogonal
    x = held(lm, tokens)
    Q = torch.linalg.qr(sae.W_dec[features].detach().T).Q
    truth = x + (factor - 1) * (x @ Q) @ Q.T
    alone = [Project(sae="s", feature=one, factor=factor) for one in features]
    for same in (alone, alone[::-1], [Project(sae="s", feature=tuple(features), factor=factor)]):
        with intervened(lm, same, {"s": Hooked(sae, POINT)}):
            torch.testing.assert_close(held(lm, tokens), truth, atol=1e-4, rtol=1e-4)
    if factor == 0:
        assert float((truth @ sae.W_dec[features].detach().T).abs().max()) < 1e-3
        one_after_another = x
        for feature in features:
            w = sae.W_dec[feature].detach()
            one_after_another = one_after_another - (one_after_another @ w / (w @ w))[:, None] * w
        assert float((one_after_another @ sae.W_dec[3].detach()).abs().max()) > 1e-2  # which is why


def test_projections_of_two_saes_that_share_a_direction_remove_it_once(lm, tokens):
    a, b = make_sae(0), make_sae(1)
    with torch.no_grad():
        b.W_dec[5] = 3 * a.W_dec[9]
    w, x = a.W_dec[9].detach(), held(lm, tokens)
    both = [Project(sae="a", feature=9), Project(sae="b", feature=5)]
    with intervened(lm, both, {"a": Hooked(a, POINT), "b": Hooked(b, POINT)}):
        torch.testing.assert_close(held(lm, tokens), x - (x @ w / (w @ w))[:, None] * w, atol=1e-4, rtol=1e-4)


def test_a_cap_on_projections_and_the_order_with_other_kinds(lm, tokens):
    sae = make_sae()
    w, x = sae.W_dec[9].detach(), held(lm, tokens)
    q = x @ w / (w @ w)
    cap = float(q.median())
    saes = {"s": Hooked(sae, POINT)}
    for order, becomes in (
        ([CapProjection(sae="s", feature=9, activation=cap)], q.clamp_max(cap)),
        ([Project(sae="s", feature=9), Add(sae="s", feature=9, activation=4.0)], torch.full_like(q, 4.0)),
        ([Add(sae="s", feature=9, activation=4.0), Project(sae="s", feature=9)], torch.zeros_like(q)),
        ([Project(sae="s", feature=9, factor=3), CapProjection(sae="s", feature=9, activation=cap)],
         (3 * q).clamp_max(cap)),
    ):  # fmt: skip
        with intervened(lm, order, saes):
            torch.testing.assert_close(held(lm, tokens), x + (becomes - q)[:, None] * w, atol=1e-4, rtol=1e-4)


def test_layer_normed_saes_hold_projections_in_the_scale_of_the_token(lm, tokens):
    sae = make_sae(normalise="layer_norm")
    w, x = sae.W_dec[9].detach(), held(lm, tokens)
    q = x @ w / (w @ w) / x.std(1)
    cap = float(q.median())
    with intervened(lm, [CapProjection(sae="s", feature=9, activation=cap)], {"s": Hooked(sae, POINT)}):
        truth = x + ((q.clamp_max(cap) - q) * x.std(1))[:, None] * w
        torch.testing.assert_close(held(lm, tokens), truth, atol=1e-4, rtol=1e-4)


def test_activations_are_those_of_what_the_model_wrote_whatever_stands_between(lm, hf, tokens):
    """A projection in between changes the vector, not what later interventions take the activation to be."""
    sae = make_sae()
    a, b = often_fired(sae, hf, tokens, POINT)[:2]
    x = held(lm, tokens)
    f, w = codes(sae, x).detach(), sae.W_dec.detach()
    with intervened(lm, [Project(sae="s", feature=a), Zero(sae="s", feature=b)], {"s": Hooked(sae, POINT)}):
        projected = x - (x @ w[a] / (w[a] @ w[a]))[:, None] * w[a]
        torch.testing.assert_close(held(lm, tokens), projected - f[:, b, None] * w[b], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "rule",
    [ReLU(), JumpReLU(), JumpReLUTanh(), TopK(k=8), Archetypal(k=8), BatchTopK(k=8), Matryoshka(k=8),
     MutualChoice(k=8), FeatureChoice(k=8)],
)  # fmt: skip
@pytest.mark.parametrize("rows", [1, 5, 60])
def test_a_few_features_are_those_of_the_whole_under_every_rule(rule, rows: int):
    sae = SAE.create(32, 64, rule, seed=3).eval()
    torch.nn.init.normal_(sae.b_enc, std=0.1)
    for name, tensor in sae.rule_tensors().items():
        if name == "threshold":
            tensor.fill_(0.8)
        if name == "thresholds":
            tensor.uniform_(0.5, 1)
            tensor[40] = torch.nan
            sae.tensor("density").fill_(0.1)
            sae.tensor("tokens_seen").fill_(10**9)
    x, features = torch.randn(rows, 32), torch.tensor([0, 1, 17, 40, 63])
    with torch.no_grad():
        whole = sae.encode(x).to_dense()
        torch.testing.assert_close(activations_of(sae, features)(x), whole[:, features])
    assert (whole > 0).any()


numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
features = st.integers(0, 10**6) | st.lists(st.integers(0, 10**6), min_size=1, max_size=4).map(tuple)
conditions = st.none() | st.builds(Fires, sae=st.none() | st.text(), feature=st.none() | features) | st.builds(
    Often, share=st.floats(0, 1), feature=st.none() | features, above=st.floats(0, 1e6)
)  # fmt: skip
places = st.builds(Tokens, start=st.integers(0, 50), stop=st.none() | st.integers(51, 99), special=st.booleans())
common = {"sae": st.text(), "feature": features, "when": conditions, "tokens": places}
values = st.one_of(
    st.builds(kind, **common, **{name: numbers if name != "above" else st.floats(0, 9) for name in kind.parameters})
    for kind in (Add, Scale, Clamp, ClampActive, Zero, Cap, Project, CapProjection)
)


@settings(max_examples=200, deadline=None)
@given(st.lists(values, max_size=5))
def test_interventions_survive_json(some):
    adapter = TypeAdapter(list[AnyIntervention])
    text = adapter.dump_json(some)
    assert adapter.validate_json(text) == some
    assert adapter.validate_python(json.loads(text)) == some
    assert hash(tuple(some)) == hash(tuple(adapter.validate_json(text)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "clamp", "sae": "a", "feature": [], "activation": 1},
        {"kind": "clamp", "sae": "a", "feature": 1},
        {"kind": "clamp", "sae": "a", "feature": 1, "activation": float("inf")},
        {"kind": "clamp_active", "sae": "a", "feature": 1, "activation": 1, "above": -1},
        {"kind": "zero", "sae": "a", "feature": 1, "tokens": {"start": 5, "stop": 5}},
        {"kind": "zero", "sae": "a", "feature": 1, "when": {"kind": "often", "share": 2}},
        {"kind": "zero", "sae": "a", "feature": 1, "when": {"kind": "sometimes"}},
        {"kind": "zero", "sae": "a", "feature": 1, "strength": 3},
    ],
)
def test_values_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValidationError):
        TypeAdapter(AnyIntervention).validate_python(wrong)
