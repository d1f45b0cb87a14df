"""The SAE module and TopK: values, losses, gradients, dtypes, and what they refuse."""

import copy

import pytest
import torch
from torch import nn

from saebench.kernels import Kernel
from saebench.saes import RULES, SAE, TopK, initialise, rule_from_data, rule_to_data

CPU, REFERENCE = Kernel("cpu"), Kernel("reference")


def small(rule: TopK | None = None, d_in: int = 12, n_latents: int = 40) -> tuple[SAE, torch.Tensor]:
    sae = SAE.create(d_in, n_latents, rule or TopK(5), seed=1)
    x = torch.randn(64, d_in, generator=torch.Generator().manual_seed(0)) + 2
    initialise(sae, x)
    return sae, x


def dense_topk(sae: SAE, x: torch.Tensor) -> torch.Tensor:
    """The maths of Gao et al. written out."""
    pre = (x - sae.b_dec) @ sae.W_enc.T + sae.b_enc
    keep = pre.topk(sae.rule.k, dim=1)
    return torch.zeros_like(pre).scatter(1, keep.indices, torch.relu(keep.values))


def test_forward_is_the_written_out_maths():
    sae, x = small()
    want = dense_topk(sae, x) @ sae.W_dec + sae.b_dec
    torch.testing.assert_close(sae(x), want)
    torch.testing.assert_close(sae.decode(sae.encode(x)), want)
    torch.testing.assert_close(sae.encode(x).to_dense(), dense_topk(sae, x))


def test_loss_is_the_written_out_maths_with_auxk():
    sae, x = small(TopK(5, k_aux=3, aux_weight=1 / 8))
    dead = torch.arange(40) % 3 == 0
    with torch.no_grad():
        sae.b_enc[dead] = -1.0
    loss = sae.loss(x, dead)
    out = dense_topk(sae, x) @ sae.W_dec + sae.b_dec
    fvu = (out - x).square().mean() / (x - x.mean(0)).square().mean()
    residual = (x - out).detach()
    pre = ((x - sae.b_dec) @ sae.W_enc.T + sae.b_enc)[:, dead]
    top = pre.topk(3, dim=1)
    aux = torch.zeros_like(pre).scatter(1, top.indices, torch.relu(top.values)) @ sae.W_dec[dead]
    auxk = (aux - residual).square().mean() / (residual - residual.mean(0)).square().mean()
    torch.testing.assert_close(loss.fvu, fvu)
    torch.testing.assert_close(loss.parts["auxk"], auxk / 8)
    torch.testing.assert_close(loss.total, fvu + auxk / 8)
    want = torch.autograd.grad(fvu + auxk / 8, list(sae.parameters()))
    for got, expected in zip(torch.autograd.grad(loss.total, list(sae.parameters())), want, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kernel", [CPU, REFERENCE], ids=["cpu", "reference"])
def test_auxk_gradient_reaches_the_encoder(kernel):
    sae, x = small()
    sae.kernel = kernel
    dead = torch.zeros(40, dtype=torch.bool)
    dead[:10] = True
    with torch.no_grad():
        sae.W_enc[:10] *= 1e-3  # small but positive: never in the top 5
    loss = sae.loss(x, dead)
    assert not set(loss.codes.latents.tolist()) & set(range(10))
    gradient = torch.autograd.grad(loss.parts["auxk"], [sae.W_enc, sae.b_enc, sae.W_dec])
    for g in gradient:
        assert g[:10].abs().sum() > 0
        assert g[10:].abs().sum() == 0


def test_auxk_is_zero_where_the_residual_has_no_variance():
    sae, x = small()
    loss = sae.loss(x[:1], torch.ones(40, dtype=torch.bool))
    assert loss.parts["auxk"] == 0
    loss.total.backward()
    assert all(p.grad.isfinite().all() for p in sae.parameters())


def test_no_dead_latents_no_auxk():
    sae, x = small()
    assert set(sae.loss(x, torch.zeros(40, dtype=torch.bool)).parts) == {"fvu"}
    assert set(sae.loss(x).parts) == {"fvu"}


def test_latents_not_selected_get_no_gradient():
    sae, x = small(TopK(2))
    loss = sae.loss(x[:3])
    loss.total.backward()
    silent = torch.ones(40, dtype=torch.bool)
    silent[loss.codes.latents.long()] = False
    assert silent.sum() >= 34
    assert not sae.W_enc.grad[silent].any()
    assert not sae.W_dec.grad[silent].any()
    assert not sae.b_enc.grad[silent].any()


def test_inputs_of_any_shape_and_dtype():
    sae, x = small()
    out = sae(x)
    torch.testing.assert_close(sae(x.view(4, 2, 8, 12)), out.view(4, 2, 8, 12))
    torch.testing.assert_close(sae(x[0]), out[0])
    assert sae(x.double()).dtype == torch.float64
    assert sae(x.bfloat16()).dtype == torch.bfloat16
    torch.testing.assert_close(sae(x.half()), out.half(), rtol=5e-2, atol=5e-2)
    assert sae(x[:0]).shape == (0, 12)
    empty = sae.loss(x[:0])
    assert empty.total == 0
    empty.total.backward()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_weights_of_another_dtype(dtype):
    sae, x = small()
    same = copy.deepcopy(sae).to(dtype)
    rounded = copy.deepcopy(same).float()
    torch.testing.assert_close(same.encode(x).to_dense().float(), rounded.encode(x).to_dense(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(same(x), rounded(x), rtol=2e-2, atol=2e-2)
    loss = same.loss(x)
    loss.total.backward()
    assert loss.total.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert same.W_enc.grad.dtype == dtype
    torch.testing.assert_close(loss.total.float(), rounded.loss(x).total, rtol=2e-2, atol=0)


def test_moves_to_another_device():
    sae, _ = small()
    codes = sae.encode(torch.ones(3, 12)).to("meta")
    assert codes.values.device.type == "meta"
    assert sae.to("meta").W_enc.device.type == "meta"


def test_state_is_the_four_tensors():
    sae, _ = small()
    assert set(sae.state_dict()) == {"W_enc", "b_enc", "W_dec", "b_dec"}
    assert isinstance(sae, nn.Module)


def test_create_is_seeded_with_tied_unit_rows():
    a, b, c = (SAE.create(6, 20, TopK(3), seed=s) for s in (4, 4, 5))
    assert torch.equal(a.W_dec, b.W_dec)
    assert not torch.equal(a.W_dec, c.W_dec)
    assert torch.equal(a.W_dec, a.W_enc)
    torch.testing.assert_close(a.W_dec.norm(dim=1), torch.ones(20))


def test_initialise_matches_output_norm_to_input_norm():
    sae, x = small()
    ratio = (sae(x) - sae.b_dec).norm(dim=1).mean() / (x - sae.b_dec).norm(dim=1).mean()
    torch.testing.assert_close(ratio.item(), 1.0, rtol=1e-3, atol=0)
    with pytest.raises(ValueError, match="empty or contains NaN"):
        initialise(sae, x[:0])
    with pytest.raises(ValueError, match="empty or contains NaN"):
        initialise(sae, x / 0)


def test_projected_gradient_keeps_unit_rows_to_first_order():
    sae, x = small()
    sae.loss(x).total.backward()
    sae.project_gradient()
    along = (sae.W_dec.grad * sae.W_dec).sum(1)
    assert along.abs().max() < 1e-6
    with torch.no_grad():
        sae.W_dec.mul_(3.0)
        sae.W_dec[0] = 0
    sae.constrain()
    torch.testing.assert_close(sae.W_dec[1:].norm(dim=1), torch.ones(39))
    assert not sae.W_dec[0].any()


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="k = 20 must be smaller than n_latents = 20"):
        SAE.create(4, 20, TopK(20))
    with pytest.raises(ValueError, match="at least 1, got 4 and 0"):
        SAE.create(4, 0, TopK(1))
    with pytest.raises(ValueError, match="k must be at least 1"):
        TopK(0)
    with pytest.raises(ValueError, match="aux_weight must be at least 0"):
        TopK(2, aux_weight=float("nan"))
    with pytest.raises(ValueError, match="b_enc has shape"):
        SAE(torch.ones(5, 3), torch.ones(4), torch.ones(5, 3), torch.ones(3), TopK(2))
    sae, x = small()
    with pytest.raises(ValueError, match="d_in = 12"):
        sae(x[:, :5])
    with pytest.raises(ValueError, match="NaN or Inf"):
        sae(x / 0)


def test_rules_are_plain_data():
    rule = TopK(7, k_aux=9, aux_weight=0.5, dead_after=100)
    assert rule_from_data(rule_to_data(rule)) == rule
    assert all(rule_from_data(rule_to_data(kind())) == kind() for kind in RULES.values())
    with pytest.raises(ValueError, match="unknown rule 'relu6'; there are topk"):
        rule_from_data({"name": "relu6"})
    with pytest.raises(ValueError, match="kk"):
        rule_from_data({"name": "topk", "kk": 3})
