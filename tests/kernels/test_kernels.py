"""The cpu kernels against dense torch, values and gradients, over shapes drawn by hypothesis."""

import os
import subprocess
import sys

import pytest
import torch
from drawn import SELECTIONS, assert_close, clear_cut, run, selection_of, tensors
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from saebench.kernels import (
    Above,
    Kernel,
    PerBatch,
    PerLatent,
    PerToken,
    SparseCodes,
    backend,
    choose,
    cpu_native,
    decode,
    encode,
    native,
    project_rows_,
    squared_error,
    unit_rows_,
)
from saebench.kernels.topk import topk

REFERENCE = Kernel("reference")
FLOAT32 = Kernel("cpu", "float32")
BFLOAT16 = Kernel("cpu", "bfloat16")
NATIVE = Kernel("cpu", "float32", native=True)
NATIVE_BFLOAT16 = Kernel("cpu", "bfloat16", native=True)
EXACT = {"torch": FLOAT32, "native": NATIVE, "native-bfloat16": NATIVE_BFLOAT16}
"""Kernels that select what float32 arithmetic selects."""

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


@pytest.mark.parametrize("kernel", EXACT.values(), ids=EXACT)
@pytest.mark.parametrize("kind", SELECTIONS)
@settings(deadline=None, max_examples=15)
@given(shapes)
def test_cpu_equals_reference(kernel, kind, shape):
    t, selection = tensors(shape), selection_of(kind, shape)
    assume(clear_cut(t, selection))
    assert_close(run(kernel, t, selection), run(REFERENCE, t, selection), 1e-5)


@pytest.mark.parametrize("kernel", EXACT.values(), ids=EXACT)
@pytest.mark.parametrize("kind", SELECTIONS)
@settings(deadline=None, max_examples=8)
@given(shapes, st.data())
def test_cpu_equals_reference_among_some_latents(kernel, kind, shape, data):
    some = data.draw(st.lists(st.integers(0, shape["n_latents"] - 1), unique=True))
    among = torch.tensor(sorted(some), dtype=torch.int64)
    t, selection = tensors(shape), selection_of(kind, shape)
    assume(clear_cut(t, selection))
    want = run(REFERENCE, t, selection, among)
    assert_close(run(kernel, t, selection, among), want, 1e-5)
    outside = [i for i in range(shape["n_latents"]) if i not in some]
    assert not want[0][:, outside].any()


@settings(deadline=None, max_examples=30)
@given(shapes)
def test_bfloat16_product_proposes_and_float32_decides(shape):
    t = tensors(shape)
    assert_close(run(BFLOAT16, t, PerToken(shape["k"])), run(REFERENCE, t, PerToken(shape["k"])), 1e-2)


@pytest.mark.parametrize("kernel", [*EXACT.values(), BFLOAT16], ids=[*EXACT, "bfloat16"])
@pytest.mark.parametrize("kind", ["token", "batch", "latent", "above"])
def test_many_blocks_and_groups(kernel, kind):
    shape = {"tokens": 2200, "d_in": 8, "n_latents": 2101, "k": 20, "seed": 3, "bias": -1.0}
    t, selection = tensors(shape), selection_of(kind, shape)
    assert_close(run(kernel, t, selection), run(REFERENCE, t, selection), 1e-2 if kernel is BFLOAT16 else 1e-5)


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


@pytest.mark.parametrize("kernel", EXACT.values(), ids=EXACT)
@pytest.mark.parametrize("kind", SELECTIONS)
def test_same_inputs_same_bits(kernel, kind):
    shape = {"tokens": 300, "d_in": 48, "n_latents": 2100, "k": 16, "seed": 5, "bias": -1.0}
    t, selection = tensors(shape), selection_of(kind, shape)
    first, second = run(kernel, t, selection), run(kernel, t, selection)
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


@pytest.mark.parametrize("compiled", ["0", "1"])
def test_codes_by_latent_and_dense_agree(compiled, monkeypatch):
    monkeypatch.setenv("SAEBENCH_NATIVE", compiled)
    t = tensors({"tokens": 20, "d_in": 6, "n_latents": 15, "k": 4, "seed": 7, "bias": 0.0})
    codes = encode(t["x"], t["W_enc"], t["b_enc"], PerToken(4)).detach()
    dense, view = codes.to_dense(), codes.pattern.by_latent
    for latent in range(15):
        at = slice(view.offsets[latent], view.offsets[latent + 1])
        assert view.tokens[at].tolist() == dense[:, latent].nonzero().flatten().tolist()
        assert torch.equal(codes.values[view.order[at]], dense[view.tokens[at].long(), latent])
    assert codes.with_values(codes.values * 2).pattern is codes.pattern


@pytest.mark.parametrize(
    ("flags", "vendor", "product"),
    [
        ({"avx2"}, "AuthenticAMD", "float32"),
        ({"avx512_bf16"}, "AuthenticAMD", "bfloat16"),
        ({"avx512_bf16"}, "GenuineIntel", "float32"),
        ({"avx512_bf16", "amx_bf16"}, "GenuineIntel", "bfloat16"),
        (set(), "", "float32"),
    ],
)
def test_product_is_chosen_by_what_the_cpu_is(monkeypatch, flags, vendor, product):
    monkeypatch.setattr(backend, "_cpu", lambda: (frozenset(flags), vendor))
    backend.bfloat16_pays.cache_clear()
    assert choose("cpu") == Kernel("cpu", product, native.available())
    backend.bfloat16_pays.cache_clear()


def test_kernels_that_do_not_exist_are_refused(monkeypatch):
    assert choose("meta").backend == "reference"
    with pytest.raises(ValueError, match="unknown kernel backend 'gpu'"):
        Kernel("gpu")
    with pytest.raises(ValueError, match="no bfloat16 product"):
        Kernel("reference", "bfloat16")
    with pytest.raises(ValueError, match="no native code"):
        Kernel("reference", native=True)
    monkeypatch.setenv("SAEBENCH_NATIVE", "0")
    assert choose("cpu").native is False
    with pytest.raises(ValueError, match=r"cannot be used here .*SAEBENCH_NATIVE=0.*; use native false"):
        Kernel("cpu", native=True)


def test_without_a_compiler_torch_does_the_work(tmp_path):
    code = "from saebench.kernels import Kernel, choose; assert not choose('cpu').native; Kernel('cpu', native=True)"
    environment = os.environ | {"CC": str(tmp_path / "no-such-compiler"), "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert "ValueError: the native kernels cannot be used here" in done.stderr
    assert "no-such-compiler" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("kind", SELECTIONS)
def test_native_products_give_the_same_bits(kind, monkeypatch):
    shape = {"tokens": 700, "d_in": 33, "n_latents": 5001, "k": 9, "seed": 4, "bias": -0.5}
    t, selection = tensors(shape), selection_of(kind, shape)
    among = torch.arange(0, 5001, 3)
    for some in (None, among):
        want = encode(t["x"], t["W_enc"], t["b_enc"], selection, among=some, kernel=NATIVE)
        assert len(want.values)
        for kernel, tiles in ((NATIVE, False), (NATIVE_BFLOAT16, False), (NATIVE_BFLOAT16, True)):
            monkeypatch.setattr(cpu_native, "has_amx", lambda tiles=tiles: tiles)  # then torch makes the product
            got = encode(t["x"], t["W_enc"], t["b_enc"], selection, among=some, kernel=kernel)
            assert torch.equal(got.latents, want.latents)
            assert torch.equal(got.values, want.values)
            assert torch.equal(got.offsets, want.offsets)


@pytest.mark.parametrize("kind", SELECTIONS)
def test_number_of_threads_changes_no_bit_of_native_results(kind):
    shape = {"tokens": 300, "d_in": 40, "n_latents": 900, "k": 5, "seed": 8, "bias": 0.0}
    t, selection, threads = tensors(shape), selection_of(kind, shape), torch.get_num_threads()
    results = []
    for n in (1, 2, 3):
        torch.set_num_threads(n)
        codes = encode(t["x"], t["W_enc"], t["b_enc"], selection, kernel=NATIVE_BFLOAT16)
        results.append(
            (codes.values, codes.latents, codes.offsets, decode(codes, t["W_dec"], t["b_dec"], kernel=NATIVE))
        )
    torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("kernel", EXACT.values(), ids=EXACT)
@pytest.mark.parametrize("kind", SELECTIONS)
def test_ties_and_zeros(kernel, kind):
    shape = {"tokens": 50, "d_in": 3, "n_latents": 400, "k": 4, "seed": 2, "bias": 0.0}
    selection = selection_of(kind, shape)
    x, W = torch.zeros(50, 3), torch.zeros(400, 3)
    codes = encode(x, W, torch.ones(400), selection, kernel=kernel)
    counts = {"token": 200, "batch": 200, "hinted batch": 200}
    if kind == "latent":
        counts[kind] = int(selection.budgets.sum())
    if kind == "above":
        counts[kind] = int((selection.thresholds < 1).sum()) * 50
    assert len(codes.values) == counts[kind]
    assert (codes.values == 1).all()
    keys = codes.tokens.long() * 400 + codes.latents
    assert len(keys.unique()) == len(keys)
    if kind != "above":
        assert not len(encode(x, W, torch.zeros(400), selection, kernel=kernel).values)


@pytest.mark.parametrize("kernel", EXACT.values(), ids=EXACT)
def test_batch_whose_entries_lie_in_few_tokens(kernel):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(900, 16, generator=g)
    x[137:140] *= 100
    W = torch.randn(2000, 16, generator=g)
    selection = PerBatch(3)
    got, want = (encode(x, W, torch.zeros(2000), selection, kernel=k).to_dense() for k in (kernel, REFERENCE))
    assert_close((got,), (want,), 1e-5)
    assert (got[137:140] > 0).sum() > 2000


@pytest.mark.parametrize("kernel", EXACT.values(), ids=EXACT)
@pytest.mark.parametrize("kind", SELECTIONS)
def test_weights_that_are_not_numbers_are_refused(kernel, kind):
    shape = {"tokens": 30, "d_in": 6, "n_latents": 77, "k": 4, "seed": 2, "bias": 0.0}
    t, selection = tensors(shape), selection_of(kind, shape)
    broken = t["W_enc"].detach().clone()
    broken[70, 3] = torch.nan
    with pytest.raises(ValueError, match="weights contain NaN or Inf"):
        encode(t["x"], broken, t["b_enc"], selection, kernel=kernel)
    with pytest.raises(ValueError, match="weights contain NaN or Inf"):
        encode(
            t["x"],
            t["W_enc"],
            t["b_enc"].detach().index_fill(0, torch.tensor([5]), torch.nan),
            selection,
            kernel=kernel,
        )


@pytest.mark.parametrize("selection", [PerBatch(2), PerLatent(torch.arange(9) % 3), Above(torch.linspace(-1, 1, 9))])
@pytest.mark.parametrize("kernel", [REFERENCE, FLOAT32], ids=["reference", "cpu"])
def test_gradients_of_every_selection_against_finite_differences(selection, kernel):
    t = tensors({"tokens": 5, "d_in": 4, "n_latents": 9, "k": 3, "seed": 1, "bias": 0.0}, torch.float64)

    def through(x, W_enc, b_enc, W_dec, b_dec):
        codes = encode(x, W_enc, b_enc, selection, centre=b_dec, kernel=kernel)
        return decode(codes, W_dec, b_dec, kernel=kernel)

    assert torch.autograd.gradcheck(through, tuple(t.values()))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 9), st.integers(1, 600), st.integers(0, 2**31))
def test_rows_in_one_pass_equal_torch(n, width, seed):
    g = torch.Generator().manual_seed(seed)
    rows, gradient = torch.randn(n, width, generator=g), torch.randn(n, width, generator=g)
    rows[: n // 3] = 0
    by = {kernel.native: (rows.clone(), gradient.clone()) for kernel in (FLOAT32, NATIVE)}
    for kernel in (FLOAT32, NATIVE):
        own, slope = by[kernel.native]
        unit_rows_(own, kernel)
        project_rows_(slope, own, kernel)
        norms = own.norm(dim=1)
        assert torch.allclose(norms, (rows.norm(dim=1) > 0).float(), atol=1e-6)
        assert ((slope * own).sum(1).abs() <= 1e-5 * width).all()
    assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-5) for a, b in zip(by[True], by[False], strict=True))


@pytest.mark.parametrize("rows", [0, 1, 255, 600])
def test_squared_error_against_torch(rows):
    g = torch.Generator().manual_seed(rows)
    prediction = torch.randn(rows, 3, generator=g, dtype=torch.float64, requires_grad=True)
    target = torch.randn(rows, 3, generator=g, dtype=torch.float64)
    got, want = squared_error(prediction, target), (prediction - target).square().sum()
    assert torch.allclose(got, want)
    assert torch.allclose(*(torch.autograd.grad(3 * error, prediction)[0] for error in (got, want)))
