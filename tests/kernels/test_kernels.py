"""The cpu kernels against dense torch, values and gradients, over shapes drawn by hypothesis."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from saebench.kernels import Kernel, PerToken, SparseCodes, choose, decode, encode
from saebench.kernels.topk import topk

REFERENCE = Kernel("reference")
FLOAT32 = Kernel("cpu", "float32")
BFLOAT16 = Kernel("cpu", "bfloat16")

shapes = st.fixed_dictionaries(
    {
        "tokens": st.integers(0, 40),
        "d_in": st.integers(1, 24),
        "n_latents": st.integers(1, 300),
        "k": st.integers(1, 12),
        "seed": st.integers(0, 2**31),
        "bias": st.sampled_from([0.0, -1.0, -5.0]),  # well below zero: fewer than k positives in most rows
    }
)


def tensors(shape: dict, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(shape["seed"])
    n, d, m = shape["tokens"], shape["d_in"], shape["n_latents"]
    made = {
        "x": torch.randn(n, d, generator=g),
        "W_enc": torch.randn(m, d, generator=g) / d**0.5,
        "b_enc": torch.randn(m, generator=g) * 0.1 + shape["bias"],
        "W_dec": torch.randn(m, d, generator=g),
        "b_dec": torch.randn(d, generator=g),
    }
    return {name: t.to(dtype).requires_grad_() for name, t in made.items()}


def run(kernel: Kernel, t: dict[str, Tensor], k: int, among: Tensor | None = None) -> tuple[Tensor, ...]:
    """Dense codes, reconstruction and the gradients of all five inputs, for a fixed random loss."""
    codes = encode(t["x"], t["W_enc"], t["b_enc"], PerToken(k), centre=t["b_dec"], among=among, kernel=kernel)
    out = decode(codes, t["W_dec"], t["b_dec"], kernel=kernel)
    g = torch.Generator().manual_seed(0)
    weights = torch.randn(out.shape, generator=g).to(out.dtype)
    loss = (out * weights).sum() + codes.values.square().sum()
    return codes.to_dense(), out, *torch.autograd.grad(loss, list(t.values()))


def assert_close(got: tuple[Tensor, ...], want: tuple[Tensor, ...], tolerance: float) -> None:
    for a, b in zip(got, want, strict=True):
        assert a.shape == b.shape
        assert (a - b).norm() <= tolerance * b.norm() + 1e-30


@settings(deadline=None, max_examples=80)
@given(shapes)
def test_cpu_equals_reference(shape):
    t = tensors(shape)
    assert_close(run(FLOAT32, t, shape["k"]), run(REFERENCE, t, shape["k"]), 1e-5)


@settings(deadline=None, max_examples=30)
@given(shapes, st.data())
def test_cpu_equals_reference_among_some_latents(shape, data):
    some = data.draw(st.lists(st.integers(0, shape["n_latents"] - 1), unique=True))
    among = torch.tensor(sorted(some), dtype=torch.int64)
    t = tensors(shape)
    want = run(REFERENCE, t, shape["k"], among)
    assert_close(run(FLOAT32, t, shape["k"], among), want, 1e-5)
    outside = [i for i in range(shape["n_latents"]) if i not in some]
    assert not want[0][:, outside].any()


@settings(deadline=None, max_examples=30)
@given(shapes)
def test_bfloat16_product_proposes_and_float32_decides(shape):
    t = tensors(shape)
    assert_close(run(BFLOAT16, t, shape["k"]), run(REFERENCE, t, shape["k"]), 1e-2)


@pytest.mark.parametrize("kernel", [FLOAT32, BFLOAT16], ids=["float32", "bfloat16"])
def test_many_blocks_and_groups(kernel):
    shape = {"tokens": 1100, "d_in": 32, "n_latents": 9001, "k": 20, "seed": 3, "bias": 0.0}
    t = tensors(shape)
    assert_close(run(kernel, t, 20), run(REFERENCE, t, 20), 1e-5 if kernel is FLOAT32 else 1e-2)


def test_reference_gradients_against_finite_differences():
    t = tensors({"tokens": 5, "d_in": 4, "n_latents": 9, "k": 3, "seed": 1, "bias": 0.0}, torch.float64)

    def through(x, W_enc, b_enc, W_dec, b_dec):
        codes = encode(x, W_enc, b_enc, PerToken(3), centre=b_dec, kernel=REFERENCE)
        return decode(codes, W_dec, b_dec, kernel=REFERENCE)

    assert torch.autograd.gradcheck(through, tuple(t.values()))


def test_cpu_gradients_against_finite_differences():
    t = tensors({"tokens": 5, "d_in": 4, "n_latents": 9, "k": 3, "seed": 1, "bias": -0.5}, torch.float64)

    def through(x, W_enc, b_enc, W_dec, b_dec):
        codes = encode(x, W_enc, b_enc, PerToken(3), centre=b_dec, kernel=FLOAT32)
        return decode(codes, W_dec, b_dec, kernel=FLOAT32)

    assert torch.autograd.gradcheck(through, tuple(t.values()))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 6), st.integers(1, 700), st.integers(1, 20), st.integers(0, 2**31), st.booleans())
def test_topk_against_sorting(rows, columns, k, seed, ties):
    values = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    values = values.round() if ties else values
    k = min(k, columns)
    found, where = topk(values, k)
    assert torch.equal(found.sort(1, descending=True).values, values.sort(1, descending=True).values[:, :k])
    assert torch.equal(values.gather(1, where), found)
    assert all(len(set(row)) == k for row in where.tolist())


def test_same_inputs_same_bits():
    t = tensors({"tokens": 600, "d_in": 48, "n_latents": 4100, "k": 16, "seed": 5, "bias": 0.0})
    first, second = run(FLOAT32, t, 16), run(FLOAT32, t, 16)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_entries_at_or_below_zero_are_left_out():
    t = tensors({"tokens": 30, "d_in": 8, "n_latents": 50, "k": 10, "seed": 2, "bias": -1.5})
    codes = encode(t["x"], t["W_enc"], t["b_enc"], PerToken(10), kernel=FLOAT32)
    dense = torch.relu((t["x"] @ t["W_enc"].T + t["b_enc"]).detach())
    assert (codes.values > 0).all()
    assert codes.offsets.diff().tolist() == (dense > 0).sum(1).clamp(max=10).tolist()
    assert len(codes.values) < 300
    assert codes.l0 == len(codes.values) / 30


def test_no_dense_gradient_between_tokens_and_latents():
    t = tensors({"tokens": 4096, "d_in": 4, "n_latents": 8192, "k": 4, "seed": 2, "bias": 0.0})
    with torch.profiler.profile(profile_memory=True) as profile:
        run_codes = encode(t["x"], t["W_enc"], t["b_enc"], PerToken(4), kernel=FLOAT32)
        decode(run_codes, t["W_dec"], t["b_dec"], kernel=FLOAT32).square().sum().backward()
    largest = max(event.cpu_memory_usage for event in profile.events())
    assert largest <= 4096 * 8192 * 4 / 8


def test_leading_dimensions_are_flattened_and_dtypes_join():
    t = tensors({"tokens": 12, "d_in": 6, "n_latents": 40, "k": 4, "seed": 2, "bias": 0.0})
    weights = t["W_enc"].detach(), t["b_enc"].detach()
    flat = encode(t["x"].detach(), *weights, PerToken(4))
    deep = encode(t["x"].detach().view(3, 4, 6).double(), *weights, PerToken(4))
    assert torch.equal(flat.to_dense(), deep.to_dense())
    half = encode(t["x"].detach(), *(w.bfloat16() for w in weights), PerToken(4))
    assert half.values.dtype == torch.float32
    want = encode(t["x"].detach(), *(w.bfloat16().float() for w in weights), PerToken(4))
    assert torch.equal(half.to_dense(), want.to_dense())
    assert decode(half, t["W_dec"].bfloat16(), t["b_dec"].bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_refused(bad):
    x = torch.zeros(3, 4)
    x[1, 2] = bad
    with pytest.raises(ValueError, match="NaN or Inf"):
        encode(x, torch.ones(5, 4), torch.zeros(5), PerToken(2))
    with pytest.raises(ValueError, match="weights contain NaN or Inf"):
        encode(torch.ones(3, 4), torch.full((5, 4), bad) - torch.full((5, 4), bad), torch.zeros(5), PerToken(2))


def test_large_finite_values_are_not_refused():
    x = torch.full((4, 4), 3e38) * torch.tensor([1.0, 1.0, -1.0, -1.0])
    assert len(encode(x, torch.zeros(5, 4), torch.ones(5), PerToken(2))) == 4


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="d_in = 4"):
        encode(torch.ones(3, 5), torch.ones(5, 4), torch.zeros(5), PerToken(2))
    with pytest.raises(ValueError, match="do not fit"):
        encode(torch.ones(3, 4), torch.ones(5, 4), torch.zeros(6), PerToken(2))
    codes = encode(torch.ones(3, 4), torch.ones(5, 4), torch.zeros(5), PerToken(2))
    with pytest.raises(ValueError, match="5 latents"):
        decode(codes, torch.ones(6, 4), torch.zeros(4))
    with pytest.raises(ValueError, match="vectors of one length"):
        SparseCodes(torch.ones(2), torch.zeros(3, dtype=torch.int32), torch.tensor([0, 3]), 5)


def test_more_than_two_billion_pre_activations():
    n, m = 33_000, 2**16 + 8
    g = torch.Generator().manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(n, 2, generator=g), dim=1)
    W = torch.nn.functional.normalize(torch.randn(m, 2, generator=g), dim=1).requires_grad_()
    codes = encode(x, W, torch.zeros(m), PerToken(1), kernel=FLOAT32)
    rows = torch.tensor([0, n // 2, n - 1])
    assert torch.equal(codes.values[rows], (x[rows] @ W.T).max(1).values)
    decode(codes, W, torch.zeros(2), kernel=FLOAT32)[-1].sum().backward()
    last = codes.latents[-1].item()
    assert torch.allclose(W.grad[last], codes.values[-1] + W.detach()[last].sum() * x[-1])


def test_codes_by_latent_and_dense_agree():
    t = tensors({"tokens": 20, "d_in": 6, "n_latents": 15, "k": 4, "seed": 7, "bias": 0.0})
    codes = encode(t["x"], t["W_enc"], t["b_enc"], PerToken(4)).detach()
    dense, view = codes.to_dense(), codes.pattern.by_latent
    for latent in range(15):
        at = slice(view.offsets[latent], view.offsets[latent + 1])
        assert view.tokens[at].tolist() == dense[:, latent].nonzero().flatten().tolist()
        assert torch.equal(codes.values[view.order[at]], dense[view.tokens[at].long(), latent])
    assert codes.with_values(codes.values * 2).pattern is codes.pattern


def test_backend_is_chosen_by_device_and_hardware():
    assert choose("cpu").backend == "cpu"
    assert choose("cpu").product == ("bfloat16" if torch.cpu._is_amx_tile_supported() else "float32")
    assert choose("meta").backend == "reference"
    with pytest.raises(ValueError, match="unknown kernel backend 'gpu'"):
        Kernel("gpu")
    with pytest.raises(ValueError, match="no bfloat16 product"):
        Kernel("reference", "bfloat16")
