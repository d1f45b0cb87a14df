"""Where interventions happen: positions and conditions, on whole texts and in generation, against masks by hand."""

import pytest
import torch
from dense import codes, logits, make_sae, often_fired
from torch import Tensor

from saebench.errors import UserError
from saebench.interventions import Add, Clamp, ClampActive, Fires, Hooked, Often, Scale, Tokens, generate, intervened
from saebench.lm import load_lm

EARLY, LATE = "blocks.1.hook_resid_post", "blocks.2.hook_resid_post"


def read(hf, tokens: Tensor, point: str) -> Tensor:
    seen: list[Tensor] = []
    logits(hf, tokens, {point: lambda x: seen.append(x) or x})  # type: ignore[func-returns-value]
    return seen[0]


def written(hf, tokens: Tensor, point: str, row: Tensor, where: Tensor) -> Tensor:
    """Logits with a row added where `where` says."""
    return logits(hf, tokens, {point: lambda x: x + where[..., None] * row})


@pytest.mark.parametrize(
    ("at", "positions"),
    [
        (Tokens(), range(1, 99)),
        (Tokens(special=True), range(99)),
        (Tokens(start=5), range(5, 99)),
        (Tokens(start=3, stop=7), range(3, 7)),
        (Tokens(stop=2, special=True), range(2)),
        (Tokens(start=24, stop=26), range(24, 26)),
    ],
)
def test_positions_are_those_of_the_sequence_also_behind_a_cache(lm, hf, tokens, at: Tokens, positions: range):
    sae = make_sae()
    row = 6.0 * sae.W_dec[7].detach()
    text = tokens
    for _ in range(8):
        where = torch.tensor([i in positions for i in range(text.shape[1])])
        out = written(hf, text, EARLY, row, where)
        text = torch.cat([text, out[:, -1:].argmax(-1)], 1)
    with intervened(lm, [Add(sae="s", feature=7, activation=6.0, tokens=at)], {"s": Hooked(sae, EARLY)}):
        assert generate(lm, tokens[0], 8).tokens.tolist() == text[0, tokens.shape[1] :].tolist()
        torch.testing.assert_close(lm.run(text[:, :-1])[0], out, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("point", [EARLY, LATE])
def test_a_refusal_feature_is_set_where_a_harmful_one_fires(lm, hf, tokens, point: str):
    """The harmful feature belongs to another SAE, at an earlier or the same hook point."""
    harmful, refusing = make_sae(0), make_sae(1)
    a, b = often_fired(harmful, hf, tokens, EARLY, 0.3)[:2]
    fires = (codes(harmful, read(hf, tokens, EARLY))[..., [a, b]] > 0.4).any(-1)
    fires[:, 0] = False
    assert 0 < int(fires.sum()) < tokens.shape[1] - 1

    def refuse(x: Tensor) -> Tensor:
        f = codes(refusing, x)[..., 30]
        return x + torch.where(fires, 8.0 - f, 0.0)[..., None] * refusing.W_dec[30]

    saes = {"harmful": Hooked(harmful, EARLY), "refusing": Hooked(refusing, point)}
    when = Fires(sae="harmful", feature=(a, b), above=0.4)
    with intervened(lm, [Clamp(sae="refusing", feature=30, activation=8.0, when=when)], saes):
        torch.testing.assert_close(lm.run(tokens)[0], logits(hf, tokens, {point: refuse}), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(lm.bridge(tokens), logits(hf, tokens, {point: refuse}), atol=2e-3, rtol=1e-3)


def test_conditions_do_not_see_what_is_done_at_their_hook_point_but_what_was_done_before(lm, hf, tokens):
    sae, early = make_sae(0), make_sae(1)
    feature = often_fired(sae, hf, tokens, LATE)[0]
    saes = {"s": Hooked(sae, LATE), "early": Hooked(early, EARLY)}
    before = Add(sae="early", feature=4, activation=9.0)
    kept = [
        before,
        Clamp(sae="s", feature=feature, activation=0.0),
        Add(sae="s", feature=8, activation=5.0, when=Fires(feature=feature)),
    ]
    first = lambda x: x + 9.0 * early.W_dec[4] * (torch.arange(x.shape[1]) > 0)[:, None]  # noqa: E731

    def second(x: Tensor) -> Tensor:
        f = codes(sae, x)[..., feature, None] * (torch.arange(x.shape[1]) > 0)[:, None]
        return x - f * sae.W_dec[feature] + 5.0 * (f > 0) * sae.W_dec[8]

    with intervened(lm, kept, saes):
        truth = logits(hf, tokens, {EARLY: first, LATE: second})
        torch.testing.assert_close(lm.run(tokens)[0], truth, atol=1e-4, rtol=1e-4)


def shares(sae, x: Tensor, features: list[int]) -> Tensor:
    """Share of the tokens 1…i on which any feature fires, for every i."""
    fires = (codes(sae, x)[..., features] > 0).any(-1).float()
    fires[..., 0] = 0
    return fires.cumsum(-1) / torch.arange(fires.shape[-1]).clamp_min(1)


def test_a_gate_decides_for_each_sequence_on_all_its_tokens(lm, hf, tokens):
    sae = make_sae()
    features = often_fired(sae, hf, tokens, EARLY, 0.2)[:2]
    two = torch.cat([tokens, torch.cat([tokens[:, :1], tokens[:, 1:].flip(1)], 1)])
    share = shares(sae, read(hf, two, EARLY), features)[:, -1]
    assert abs(share[0] - share[1]) > 0.01
    cut = float(share.mean())
    where = (share > cut)[:, None] & (torch.arange(two.shape[1]) > 0)

    def guarded(x: Tensor) -> Tensor:
        f = codes(sae, x)
        after = f.clone()
        after[..., features] = torch.where((f > 0) & where[..., None], -20.0, f)[..., features]
        return x + (after - f) @ sae.W_dec

    guard = ClampActive(sae="s", feature=tuple(features), activation=-20.0, when=Often(share=cut))
    with intervened(lm, [guard], {"s": Hooked(sae, EARLY)}):
        truth = logits(hf, two, {EARLY: guarded})
        torch.testing.assert_close(lm.run(two)[0], truth, atol=2e-4, rtol=1e-4)
        torch.testing.assert_close(lm.bridge(two), truth, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("opens", [0.0, 0.4, 0.5, 0.55])
def test_in_generation_a_gate_goes_on_counting(lm, hf, tokens, opens: float):
    """The prompt is decided on as a whole, each later token on what was read up to it; decided things stay."""
    sae = make_sae()
    features, n = often_fired(sae, hf, tokens, EARLY, 0.5)[:2], tokens.shape[1]
    so_far = shares(sae, read(hf, tokens, EARLY), features)[0]
    cut = float(so_far[-1]) * 2 * opens  # around the prompt's share

    def guarded(x: Tensor) -> Tensor:
        share = shares(sae, x, features)[0]
        share[:n] = share[n - 1]
        where = (share > cut) & (torch.arange(x.shape[1]) > 0)
        return x + 4.0 * where[:, None] * sae.W_dec[7]

    text = tokens
    for _ in range(16):
        text = torch.cat([text, logits(hf, text, {EARLY: guarded})[:, -1:].argmax(-1)], 1)
    when = Often(feature=tuple(features), share=min(cut, 1.0))
    with intervened(lm, [Add(sae="s", feature=7, activation=4.0, when=when)], {"s": Hooked(sae, EARLY)}):
        for _ in range(2):  # a new sequence begins anew
            assert generate(lm, tokens[0], 16).tokens.tolist() == text[0, n:].tolist()
        bridged = lm.bridge.generate(tokens, max_new_tokens=16, do_sample=False, verbose=False, stop_at_eos=False)
        assert bridged[0].tolist() == text[0].tolist()


def test_a_gate_that_has_not_read_the_beginning_says_so(lm, tokens):
    saes = {"s": Hooked(make_sae(), EARLY)}
    _, _, cache = lm.run(tokens)
    with (
        intervened(lm, [Add(sae="s", feature=7, activation=4.0, when=Often(share=0.1))], saes),
        pytest.raises(UserError, match="begin it again inside"),
    ):
        lm.run(tokens[:, :1], cache=cache)


def test_a_condition_on_what_comes_later_says_so_and_leaves_the_model_unhooked(lm, tokens):
    clean = lm.run(tokens)[0]
    saes = {"early": Hooked(make_sae(0), EARLY), "late": Hooked(make_sae(1), LATE)}
    late = Add(sae="early", feature=7, activation=4.0, when=Fires(sae="late", feature=3))
    with pytest.raises(UserError, match="late, which the model computes only after"), intervened(lm, [late], saes):
        lm.run(tokens)
    assert torch.equal(lm.run(tokens)[0], clean)


def test_what_conditions_cannot_name(lm):
    saes = {"s": Hooked(make_sae(), EARLY)}
    for when, cause in (
        (Fires(sae="t", feature=3), "no SAE 't'"),
        (Often(feature=10**6, share=0.1), "no feature 1000000"),
    ):
        with pytest.raises(UserError, match=cause):
            intervened(lm, [Scale(sae="s", feature=3, factor=0, when=when)], saes)


def test_an_sae_of_another_model_is_refused(lm):
    saes = {"s": Hooked(make_sae(), EARLY, model="0" * 64)}
    with pytest.raises(UserError, match="reads another model"):
        intervened(lm, [Add(sae="s", feature=3, activation=1)], saes)


def test_logits_that_overflow_are_an_error_in_any_pass(tokens):
    lm = load_lm(precision="float32")
    clean = lm.run(tokens)[0]
    sae = make_sae()
    sae.W_dec.data.mul_(100)
    with intervened(lm, [Add(sae="s", feature=3, activation=3e38)], {"s": Hooked(sae, "blocks.3.hook_resid_post")}):
        for run in (lm.run, lm.loss, lm.bridge):
            with pytest.raises(UserError, match="overflow"):
                run(tokens)
    assert torch.equal(lm.run(tokens)[0], clean)
