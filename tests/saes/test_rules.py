"""Every rule against its maths written out densely, values, losses and gradients; and what all rules have in common."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from saebench.kernels import Kernel
from saebench.saes import (
    RULES,
    SAE,
    Archetypal,
    BatchTopK,
    FeatureChoice,
    Gated,
    JumpReLU,
    JumpReLUTanh,
    Matryoshka,
    MutualChoice,
    ReLU,
    Rule,
    TopK,
    initialise,
    zipf,
)

D, M, N = 12, 40, 64
SMALL: list[Rule] = [
    TopK(5, multi_k=12),
    BatchTopK(5),
    MutualChoice(5),
    FeatureChoice(5, mutual_tokens=0),
    Matryoshka(5, prefixes=(0.25, 0.5, 1.0)),
    JumpReLU(initial_l0=8, bandwidth=0.5),
    JumpReLUTanh(initial_l0=8),
    Gated(initial_l0=8),
    ReLU(initial_l0=8),
    Archetypal(5),
]
KERNELS = [Kernel("cpu"), Kernel("reference")]
each_rule = pytest.mark.parametrize("rule", SMALL, ids=lambda rule: rule.name)
each_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.backend)


def small(rule: Rule, kernel: Kernel | None = None) -> tuple[SAE, Tensor]:
    """A fitted SAE whose weights are in general position, and data."""
    sae = SAE.create(D, M, rule, seed=1)
    g = torch.Generator().manual_seed(0)
    x = torch.randn(N, D, generator=g) + 2
    initialise(sae, x)
    with torch.no_grad():
        for parameter in (sae.W_enc, sae.b_enc, sae.b_dec):
            parameter += 0.05 * torch.randn(parameter.shape, generator=g)
    sae.kernel = kernel
    return sae, x


def trained(rule: Rule, steps: int = 5) -> tuple[SAE, Tensor]:
    """An SAE after a few steps, in training."""
    sae, x = small(rule)
    optimizer = torch.optim.Adam([p for p in sae.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(steps):
        loss = sae.loss(x)
        loss.total.backward()
        optimizer.step()
        optimizer.zero_grad()
        sae.update(loss)
        sae.constrain()
    return sae, x


def pre_of(sae: SAE, x: Tensor, bias: Tensor | None = None) -> Tensor:
    return (x - sae.b_dec) @ sae.W_enc.T + (sae.b_enc if bias is None else bias)


def fvu_of(prediction: Tensor, x: Tensor) -> Tensor:
    return (prediction - x).square().mean() / (x - x.mean(0)).square().mean()


def assert_same(sae: SAE, got: Tensor, want: Tensor) -> None:
    """Two ways to the same loss: values and all gradients."""
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)
    parameters = [p for p in sae.parameters() if p.requires_grad]
    one = torch.autograd.grad(got, parameters, allow_unused=True)
    other = torch.autograd.grad(want, parameters, allow_unused=True)
    for (name, _), a, b in zip(((n, p) for n, p in sae.named_parameters() if p.requires_grad), one, other, strict=True):
        a, b = (torch.zeros(()) if g is None else g for g in (a, b))
        torch.testing.assert_close(a, b.expand_as(a), rtol=1e-4, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


def largest(pre: Tensor, n: int) -> Tensor:
    keep = torch.zeros(pre.numel(), dtype=torch.bool)
    keep[pre.flatten().topk(n).indices] = True
    return torch.where(keep.view_as(pre) & (pre > 0), pre, 0.0)


@each_kernel
def test_multi_topk(kernel):
    sae, x = small(TopK(5, multi_k=12), kernel)
    pre = pre_of(sae, x)
    some, more = (
        torch.zeros_like(pre).scatter(1, pre.topk(k, 1).indices, pre.topk(k, 1).values.relu()) @ sae.W_dec + sae.b_dec
        for k in (5, 12)
    )
    loss = sae.loss(x)
    assert loss.l0 <= 5
    assert_same(sae, loss.total, fvu_of(some, x) + fvu_of(more, x) / 8)


@each_kernel
def test_batchtopk(kernel):
    sae, x = small(BatchTopK(5), kernel)
    codes = largest(pre_of(sae, x), 5 * N)
    loss = sae.loss(x)
    assert len(loss.codes.values) == 5 * N
    assert len(loss.codes.offsets.diff().unique()) > 1
    assert_same(sae, loss.total, fvu_of(codes @ sae.W_dec + sae.b_dec, x))


@each_kernel
def test_matryoshka(kernel):
    sae, x = small(Matryoshka(5, prefixes=(0.25, 0.5, 1.0)), kernel)
    codes = largest(pre_of(sae, x), 5 * N)
    errors = [fvu_of(codes[:, :m] @ sae.W_dec[:m] + sae.b_dec, x) for m in (10, 20, 40)]
    loss = sae.loss(x)
    torch.testing.assert_close(loss.fvu, errors[-1].detach())
    assert_same(sae, loss.total, torch.stack(errors).mean())


@each_kernel
def test_relu(kernel):
    sae, x = small(ReLU(l1_weight=0.3), kernel)
    codes = pre_of(sae, x).relu()
    price = codes.sum(1).mean() / (x - x.mean(0)).square().sum(1).mean().sqrt()
    assert_same(sae, sae.loss(x, sparsity=0.5).total, fvu_of(codes @ sae.W_dec + sae.b_dec, x) + 0.15 * price)


@each_kernel
def test_gated(kernel):
    sae, x = small(Gated(l1_weight=0.3), kernel)
    with torch.no_grad():
        sae.r_mag += 0.2 * torch.randn(M, generator=torch.Generator().manual_seed(5))
        sae.b_enc -= 0.5  # some open gates have no positive magnitude
    shared = pre_of(sae, x, bias=torch.zeros(M))
    gate = shared + sae.b_gate
    magnitude = (shared * sae.r_mag.exp() + sae.b_enc).relu()
    codes = (gate > 0) * magnitude
    assert ((gate > 0) & (magnitude == 0)).any()
    by_gates = gate.relu() @ sae.W_dec.detach() + sae.b_dec.detach()
    price = gate.relu().sum(1).mean() / (x - x.mean(0)).square().sum(1).mean().sqrt()
    want = fvu_of(codes @ sae.W_dec + sae.b_dec, x) + 0.3 * price + fvu_of(by_gates, x)
    loss = sae.loss(x)
    torch.testing.assert_close(loss.codes.to_dense(), codes.detach())
    torch.testing.assert_close(sae.encode(x).to_dense(), codes)
    assert_same(sae, loss.total, want)


def jump(z: Tensor, threshold: Tensor, width: float) -> tuple[Tensor, Tensor]:
    """JumpReLU and the step, dense, with the paper's straight-through gradients for θ (not for log θ)."""
    box = ((z - threshold).abs() < width / 2).float().detach()
    above = (z > threshold).float()
    moving = threshold - threshold.detach()  # zero, with the gradient of θ
    f = z * above - threshold.detach() / width * box * moving
    return f, above - box / width * moving


@each_kernel
@pytest.mark.parametrize("target", [None, 4.0])
def test_jumprelu(kernel, target):
    sae, x = small(JumpReLU(l0_weight=0.1, target_l0=target, bandwidth=0.5), kernel)
    spread = (x - x.mean(0)).square().mean().sqrt().item()
    f, active = jump(pre_of(sae, x), sae.log_threshold.exp(), 0.5 * spread)
    l0 = active.sum(1).mean()
    price = l0 if target is None else (l0 / target - 1).square()
    loss = sae.loss(x)
    torch.testing.assert_close(loss.codes.to_dense(), f.detach())
    assert (loss.codes.values > 0).all()
    assert_same(sae, loss.total, fvu_of(f @ sae.W_dec + sae.b_dec, x) + 0.1 * price)
    assert torch.autograd.grad(sae.loss(x).parts["l0"], sae.log_threshold)[0].abs().sum() > 0


@each_kernel
def test_jumprelu_tanh(kernel):
    sae, x = small(JumpReLUTanh(l0_weight=0.1, preactivation_weight=0.02), kernel)
    spread = (x - x.mean(0)).square().mean().sqrt().item()
    pre, threshold = pre_of(sae, x), sae.log_threshold.exp()
    f, _ = jump(pre, threshold, 2 * spread)
    soft = (4 * f / spread).tanh().sum(1).mean()
    short = (threshold - pre).relu().sum(1).mean() / spread
    want = fvu_of(f @ sae.W_dec + sae.b_dec, x) + 0.1 * soft + 0.02 * short
    assert_same(sae, sae.loss(x).total, want)


def test_archetypal_dictionary_is_near_convex_and_learns():
    sae, x = trained(Archetypal(5, delta=0.1))
    assert (sae.mixture >= 0).all()
    torch.testing.assert_close(sae.mixture.sum(1), torch.ones(M))
    assert sae.mixture.detach().clone().fill_diagonal_(0).sum() > 0  # has left the identity
    assert sae.deviation.norm(dim=1).max() <= 0.1 + 1e-6
    want = (sae.mixture @ sae.points + sae.deviation) * sae.log_scale.exp()
    torch.testing.assert_close(sae.W_dec.detach(), want.detach())
    assert not sae.W_dec.requires_grad
    loss = sae.loss(x)
    loss.total.backward()
    for name in ("mixture", "deviation", "log_scale", "W_enc"):
        assert getattr(sae, name).grad.abs().sum() > 0, name
    assert sae(x).detach().sub(x).square().mean() < x.sub(x.mean(0)).square().mean()


def test_archetypal_points_are_centroids_of_the_data():
    g = torch.Generator().manual_seed(0)
    centres = 5 * torch.randn(6, D, generator=g)
    x = centres.repeat_interleave(100, dim=0) + 0.01 * torch.randn(600, D, generator=g)
    sae = SAE.create(D, 6, Archetypal(2))
    initialise(sae, x)
    found = sae.points / sae.points.norm(dim=1, keepdim=True)
    true = torch.nn.functional.normalize(centres - sae.b_dec.detach(), dim=1)
    assert (found @ true.T).max(1).values.min() > 0.95


@given(st.integers(2, 200), st.integers(1, 8), st.integers(1, 300), st.floats(0, 2), st.integers(0, 2**31))
@settings(deadline=None, max_examples=60)
def test_zipf_budgets(n, k, tokens, exponent, seed):
    k = min(k, n)
    density = torch.rand(n, generator=torch.Generator().manual_seed(seed))
    budgets = zipf.budgets(density, k, tokens, exponent)
    assert int(budgets.sum()) == k * tokens
    assert budgets.max() <= tokens
    if k * tokens >= n:
        assert budgets.min() >= 1
    by_rank = budgets[density.argsort(descending=True)]
    assert (by_rank.diff() <= 1).all()  # falls with rank, but for the rounding
    target = zipf.targets(density, k, exponent)
    assert target.max() <= 1 + 1e-9
    assert target.sum().item() == pytest.approx(k)


def test_zipf_shares_follow_the_law():
    shares = zipf.shares(torch.tensor([0.1, 0.5, 0.3]), 1.0)
    torch.testing.assert_close(shares, torch.tensor([1 / 3, 1.0, 1 / 2]) / (1 + 1 / 2 + 1 / 3))


def test_feature_choice_changes_from_mutual_choice():
    sae, x = small(FeatureChoice(5, mutual_tokens=2 * N))
    for phase in (0, 0, 1, 1):
        loss = sae.loss(x)
        assert len(loss.codes.values) <= 5 * N
        per_latent = torch.bincount(loss.codes.latents, minlength=M)
        if phase:
            budgets = zipf.budgets(sae.density, 5, N, 1.0)
            assert (per_latent <= budgets).all()
            pre = pre_of(sae, x)
            for latent in range(0, M, 7):
                best = pre[:, latent].topk(int(budgets[latent])).values
                assert per_latent[latent] == (best > 0).sum()
        sae.update(loss)
    assert int(sae.tokens_seen) == 4 * N
    served = sae.eval().encode(x)
    assert (served.values > sae.thresholds[served.latents.long()]).all()
    assert served.l0 == pytest.approx(5, rel=0.3)


def test_aux_zipf_trains_the_underused_by_their_shortfall():
    sae, x = small(MutualChoice(5, k_aux=4, aux_weight=0.5))
    assert "aux_zipf" in sae.loss(x).parts
    assert sae.loss(x).parts["aux_zipf"] == 0  # no densities yet
    sae.update(sae.loss(x))
    loss = sae.loss(x)
    target = zipf.targets(sae.density, 5, 1.0)
    shortfall = (1 - sae.density / target).clamp(min=0).float()
    under = shortfall > 0
    assert 0 < under.sum() < M
    pre = pre_of(sae, x[::8]).masked_fill(~under, -torch.inf)
    top = pre.topk(4, 1)
    codes = torch.zeros_like(pre).scatter(1, top.indices, top.values.relu()) * shortfall
    residual = (x - loss.reconstruction).detach()[::8]
    assert_same(sae, loss.parts["aux_zipf"], 0.5 * fvu_of(codes @ sae.W_dec, residual))
    gradient = torch.autograd.grad(sae.loss(x).parts["aux_zipf"], sae.W_enc)[0]
    assert gradient[under].abs().sum() > 0
    assert gradient[~under].abs().sum() == 0


@each_rule
def test_training_lowers_the_loss_and_serves(rule, tmp_path):
    sae, x = small(rule)
    before = sae.loss(x).total.item()
    sae, x = trained(rule)
    assert sae.loss(x).total.item() < before
    sae.save(tmp_path)
    served = SAE.load(tmp_path)
    assert not served.training
    assert served.rule == rule
    assert all(torch.equal(a, b) for a, b in zip(sae.state_dict().values(), served.state_dict().values(), strict=True))
    out = served(x)
    assert out.shape == x.shape
    deep = served(x.view(4, 2, 8, D))
    torch.testing.assert_close(deep, out.view(4, 2, 8, D), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(served.encode(x.view(8, 8, D)).to_dense(), served.encode(x).to_dense())
    assert (served.encode(x).values > 0).all()


@each_rule
def test_serving_does_not_depend_on_the_batch(rule):
    sae, x = trained(rule)
    sae.eval()
    alone = torch.cat([sae.encode(row).to_dense() for row in x[:8]])
    torch.testing.assert_close(alone, sae.encode(x).to_dense()[:8], rtol=1e-4, atol=1e-5)


@each_rule
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_own_tensors_stay_float32(rule, dtype):
    sae, x = trained(rule)
    half = copy.deepcopy(sae).eval().to(dtype)
    for name in half._own:
        tensor = half.tensor(name)
        assert not tensor.is_floating_point() or tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, sae.tensor(name))
    assert half.W_enc.dtype == dtype
    out = half(x)
    assert out.dtype == x.dtype
    assert (out - sae.eval()(x)).norm() < 0.1 * (x - x.mean(0)).norm()
    loss = half.train().loss(x)
    loss.total.backward()
    assert all(p.grad.isfinite().all() for p in half.parameters() if p.grad is not None)


@each_rule
def test_empty_batches(rule):
    sae, x = trained(rule)
    loss = sae.loss(x[:0])
    assert loss.total.isfinite()
    loss.total.backward()
    before = {name: tensor.clone() for name, tensor in sae.state_dict().items()}
    sae.update(loss)
    for name, tensor in sae.state_dict().items():
        torch.testing.assert_close(tensor, before[name], equal_nan=True)
    assert sae(x[:0]).shape == (0, D)
    assert sae.eval()(x[:0].view(0, 3, D)).shape == (0, 3, D)


@each_rule
def test_rescaled_is_the_same_sae_of_scaled_activations(rule):
    sae, x = trained(rule)
    sae.eval()
    codes, out = sae.encode(x).to_dense(), sae(x)
    sae.rescale(3.0)
    torch.testing.assert_close(sae.encode(3 * x).to_dense(), 3 * codes, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sae(3 * x), 3 * out, rtol=1e-4, atol=1e-4)


@each_rule
def test_micro_batches_with_the_batch_variance_average_to_the_whole(rule):
    """True of the rules that select per token or by threshold; the others select within the part."""
    sae, x = small(rule)
    whole = sae.loss(x)
    spread = (x - x.mean(0)).square().sum(1).mean()
    parts = [sae.loss(part, variance=spread) for part in x.split(16)]
    if rule.name in ("topk", "jumprelu", "jumprelu_tanh", "gated", "relu", "archetypal"):
        got = torch.stack([part.total for part in parts]).mean()
        torch.testing.assert_close(got, whole.total, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rule", [BatchTopK(5), MutualChoice(5), Matryoshka(5)], ids=lambda rule: rule.name)
def test_thresholds_stand_for_the_batch(rule):
    sae, x = trained(rule, steps=150)
    assert sae.threshold > 0
    sae.eval()
    assert sae.encode(x).l0 == pytest.approx(5, rel=0.1)
    assert (sae.encode(x).values > sae.threshold).all()


@pytest.mark.parametrize("kind", [BatchTopK, MutualChoice, FeatureChoice, Matryoshka])
def test_serving_without_a_threshold_is_refused(kind):
    sae = SAE.create(D, M, kind(k=5)).eval()
    with pytest.raises(ValueError, match="no inference threshold yet: train it"):
        sae.encode(torch.randn(3, D))


@pytest.mark.parametrize(
    "rule", [ReLU(initial_l0=6), Gated(initial_l0=6), JumpReLU(initial_l0=6)], ids=lambda r: r.name
)
def test_threshold_rules_begin_as_sparse_as_told(rule):
    x = torch.randn(2000, D, generator=torch.Generator().manual_seed(3))
    sae = SAE.create(D, M, rule)
    initialise(sae, x)
    codes = sae.encode(x)
    assert codes.l0 == pytest.approx(6, rel=0.05)
    rates = torch.bincount(codes.latents, minlength=M) / 2000
    torch.testing.assert_close(rates, torch.full((M,), 6 / M), rtol=0.05, atol=0.0)


def test_layer_norm_is_undone():
    sae = SAE.create(D, M, TopK(5), normalise="layer_norm")
    x = 7 * torch.randn(N, D) + 3
    initialise(sae, x)
    inside = (x - x.mean(1, keepdim=True)) / (x.std(1, keepdim=True) + 1e-5)
    plain = SAE(sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec, TopK(5))
    codes, out = sae.reconstruct(x)
    torch.testing.assert_close(codes.to_dense(), plain.encode(inside).to_dense())
    torch.testing.assert_close(
        out, plain(inside) * (x.std(1, keepdim=True) + 1e-5) + x.mean(1, keepdim=True), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(sae.loss(x).total, plain.loss(inside).total)
    torch.testing.assert_close(sae(2 * x + 1), 2 * out + 1, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TopK(0), "TopK: k must be at least 1, got 0"),
        (lambda: JumpReLU(bandwidth=0), "JumpReLU: bandwidth must be above 0, got 0"),
        (lambda: Matryoshka(prefixes=(0.5, 0.2, 1)), r"prefixes must rise from above 0 to 1, got \[0.5, 0.2, 1\]"),
        (lambda: Archetypal(start="kmeans"), "start must be identity or random, got 'kmeans'"),
        (lambda: SAE.create(D, M, TopK(5, multi_k=3)), "multi_k = 3 must be larger than k = 5"),
        (lambda: SAE.create(D, M, BatchTopK(M)), f"k = {M} must be smaller than n_latents = {M}"),
        (lambda: SAE.create(D, 0, ReLU()), "at least 1, got 12 and 0"),
        (lambda: SAE.create(D, M, ReLU(), normalise="batch"), "normalise must be none or layer_norm"),
        (
            lambda: SAE(*(p for p in _weights()), JumpReLU(), log_threshold=torch.zeros(3)),
            r"log_threshold has shape \(3,\)",
        ),
        (
            lambda: SAE(*(p for p in _weights()), ReLU(), threshold=torch.zeros(())),
            "a relu rule has no tensor threshold",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def _weights() -> tuple[Tensor, ...]:
    return torch.randn(M, D), torch.zeros(M), torch.randn(M, D), torch.zeros(D)


def test_every_rule_of_the_registry_is_tested_here():
    assert {rule.name for rule in SMALL} == set(RULES)
