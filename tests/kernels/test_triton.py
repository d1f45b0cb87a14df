"""The Triton kernels against dense torch, values and gradients: on a GPU if there is one, else in the interpreter."""

import math
import subprocess
import sys
from functools import partial

import drawn
import pytest
import torch
from drawn import assert_close, clear_cut, codes_of, run
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from triton_device import DEVICE

from saebench.kernels import (
    Above,
    Kernel,
    PerBatch,
    PerLatent,
    PerToken,
    Selection,
    SparseCodes,
    backend,
    choose,
    decode,
    encode,
)
from saebench.kernels import triton as kernels
from saebench.kernels.triton import rows, segments, selecting
from saebench.kernels.triton.maxima import GROUP

REFERENCE = Kernel("reference")
KERNELS = {product: Kernel("triton", product) for product in ("float32", "bfloat16")}

small = st.fixed_dictionaries(
    {
        "tokens": st.integers(0, 12),
        "d_in": st.sampled_from([1, 3, 16, 63, 64, 70]),  # both allowances for rounding, whole tiles and not
        "n_latents": st.integers(1, 70),
        "k": st.integers(1, 12),
        "seed": st.integers(0, 2**31),
        "bias": st.sampled_from([0.0, -1.0, -5.0]),  # well below zero: fewer than k positives in most rows
    }
)
wide = st.fixed_dictionaries(
    {
        "tokens": st.integers(1, 70),
        "d_in": st.sampled_from([8, 100]),
        "n_latents": st.integers(200, 400),
        "k": st.integers(1, 25),
        "seed": st.integers(0, 2**31),
        "bias": st.sampled_from([0.0, -1.0]),
    }
)
products = st.sampled_from(list(KERNELS.values()))
each_kind = pytest.mark.parametrize("kind", drawn.SELECTIONS)
each_product = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)


tensors = partial(drawn.tensors, device=DEVICE)
selection_of = partial(drawn.selection_of, device=DEVICE)


@each_kind
@settings(deadline=None, max_examples=4, derandomize=True)
@given(small, products, st.data())
def test_values_and_gradients_equal_the_reference(kind, shape, kernel, data):
    t, selection, among = tensors(shape), selection_of(kind, shape), None
    assume(clear_cut(t, selection))
    if data.draw(st.booleans()):
        some = data.draw(st.sets(st.integers(0, shape["n_latents"] - 1)))
        among = torch.tensor(sorted(some), dtype=torch.int64, device=DEVICE)
    assert_close(run(kernel, t, selection, among), run(REFERENCE, t, selection, among), 1e-5)


@each_kind
@settings(deadline=None, max_examples=2, derandomize=True)
@given(wide, products)
def test_selection_among_many_groups_equals_the_reference(kind, shape, kernel):
    t, selection = tensors(shape), selection_of(kind, shape)
    assume(clear_cut(t, selection))
    with torch.no_grad():
        found, want = codes_of(kernel, t, selection), codes_of(REFERENCE, t, selection)
    assert torch.equal(found.offsets, want.offsets)
    assert torch.equal(found.latents, want.latents)  # the order too: by token, then by latent
    assert_close((found.values,), (want.values,), 1e-6)


@each_kind
def test_same_inputs_same_bits(kind):
    shape = {"tokens": 30, "d_in": 20, "n_latents": 35, "k": 5, "seed": 5, "bias": 0.0}
    t, selection = tensors(shape), selection_of(kind, shape)
    first, second = (run(KERNELS["bfloat16"], t, selection) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@each_kind
def test_blocks_of_rows_change_nothing(kind, monkeypatch):
    shape = {"tokens": 20, "d_in": 12, "n_latents": 100, "k": 9, "seed": 6, "bias": 0.0}
    t, selection = tensors(shape), selection_of(kind, shape)
    whole = codes_of(KERNELS["float32"], t, selection).detach()
    monkeypatch.setattr(selecting, "FEWEST_SCORES", 1)
    monkeypatch.setattr(selecting, "MOST_SCORES", 30 * GROUP)
    parts = codes_of(KERNELS["float32"], t, selection).detach()
    assert torch.equal(whole.latents, parts.latents)
    torch.testing.assert_close(whole.values, parts.values)  # a BLAS may round smaller products otherwise


@each_product
def test_ties_are_broken_and_thresholds_are_strict(kernel):
    g = torch.Generator().manual_seed(3)
    x = torch.randint(-2, 3, (15, 6), generator=g).float().to(DEVICE)
    W = torch.randint(-2, 3, (130, 6), generator=g).float().to(DEVICE)
    b = torch.zeros(130, device=DEVICE)
    pre = x @ W.T
    for selection, want in (
        (PerToken(7), pre.topk(7).values),
        (PerBatch(7), pre.flatten().topk(7 * 15).values),
        (PerLatent(torch.full((130,), 4, device=DEVICE)), pre.topk(4, dim=0).values),
        (Above(torch.full((130,), 3.0, device=DEVICE)), pre[pre > 3]),
        (Above(torch.full((130,), -3.0, device=DEVICE)), pre[pre > -3]),
    ):
        codes = encode(x, W, b, selection, kernel=kernel)
        want = want if isinstance(selection, Above) else want[want > 0]
        assert torch.equal(codes.values.sort().values, want.flatten().sort().values)
        assert torch.equal(pre[codes.tokens.long(), codes.latents.long()], codes.values)
        assert len(set(zip(codes.tokens.tolist(), codes.latents.tolist(), strict=True))) == len(codes.values)


@pytest.mark.parametrize("expected", [-1.0, 0.0, 1e-30, 0.5, 1e30, math.inf, math.nan])
def test_a_wrong_hint_changes_nothing(expected):
    shape = {"tokens": 20, "d_in": 12, "n_latents": 150, "k": 4, "seed": 8, "bias": 0.0}
    t = tensors(shape)
    want, found = (codes_of(KERNELS["bfloat16"], t, PerBatch(4, hint)).detach() for hint in (None, expected))
    assert torch.equal(found.latents, want.latents)
    torch.testing.assert_close(found.values, want.values)  # a BLAS may round smaller products otherwise


class Sizes(TorchDispatchMode):
    """Notes the largest tensor that any torch operator makes."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **kwargs or {})
        for tensor in made if isinstance(made, list | tuple) else [made]:
            if isinstance(tensor, Tensor) and tensor.dtype != torch.uint8:  # the interpreter's copies are bytes
                self.largest = max(self.largest, tensor.numel())
        return made


@pytest.mark.parametrize("kind", ["token", "batch", "latent", "above"])
def test_no_tensor_is_dense_between_tokens_and_latents(kind):
    n, m = 256, 1024
    g = torch.Generator().manual_seed(1)
    x, W = torch.randn(n, 60, generator=g).to(DEVICE), torch.randn(m, 60, generator=g).to(DEVICE) / 60**0.5
    selection: Selection = {
        "token": PerToken(4),
        "batch": PerBatch(4),
        "latent": PerLatent(torch.ones(m, dtype=torch.int64, device=DEVICE)),
        "above": Above(torch.full((m,), 2.8, device=DEVICE)),
    }[kind]
    with Sizes() as sizes:
        codes = encode(x, W, torch.zeros(m, device=DEVICE), selection, kernel=KERNELS["bfloat16"])
    assert 2 * n <= len(codes.values) <= 4 * n
    assert 0 < sizes.largest <= n * m // 4  # W_enc itself, padded, is as large


def test_few_groups_are_computed_again(monkeypatch):
    n, m, k = 24, 2048, 16
    g = torch.Generator().manual_seed(1)
    x, W = torch.randn(n, 128, generator=g).to(DEVICE), torch.randn(m, 128, generator=g).to(DEVICE) / 128**0.5
    exact, pairs = selecting.exact_groups, []

    def counting(*arguments):
        pairs.append(len(arguments[-1][0]))
        return exact(*arguments)

    monkeypatch.setattr(selecting, "exact_groups", counting)
    for selection, most in ((PerToken(k), 1.3), (PerBatch(k), 1.3), (PerBatch(k, expected=2.4), 1.6)):
        pairs.clear()
        encode(x, W, torch.zeros(m, device=DEVICE), selection, kernel=KERNELS["bfloat16"])
        assert sum(pairs) <= most * k * n


@settings(deadline=None, max_examples=15, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 90), st.integers(0, 12)), max_size=9), st.integers(0, 2**31), st.booleans())
def test_largest_of_ragged_rows_against_sorting(sizes, seed, ties):
    g = torch.Generator().manual_seed(seed)
    parts = [torch.randn(length, generator=g) for length, _ in sizes]
    parts = [part.round() if ties else part for part in parts]
    starts = torch.tensor([0, *(length for length, _ in sizes)]).cumsum(0)
    values = torch.cat([*parts, torch.empty(0)])
    ks = torch.tensor([k for _, k in sizes], dtype=torch.int64)
    taken = rows.largest(values.to(DEVICE), starts.to(DEVICE), ks.to(DEVICE)).cpu()
    assert taken.tolist() == sorted(set(taken.tolist()))
    for part, start, k in zip(parts, starts.tolist(), ks.tolist(), strict=False):
        mine = values[taken[(taken >= start) & (taken < start + len(part))]]
        want = part[part > 0].sort(descending=True).values[:k]
        assert torch.equal(mine.sort(descending=True).values, want)


def test_largest_with_blocks_of_a_gpu_and_odd_values(monkeypatch):
    monkeypatch.setattr(rows, "INTERPRETED", rows.BLOCKS)
    values = torch.randn(5, 1500, generator=torch.Generator().manual_seed(0))
    values[1, 7], values[1, 1400], values[2, 3] = math.nan, math.inf, -math.inf
    values[3] = 2.0
    starts, ks = torch.arange(6) * 1500, torch.tensor([20, 2, 1500, 30, 0])
    taken = rows.largest(values.view(-1).to(DEVICE), starts.to(DEVICE), ks.to(DEVICE)).cpu()
    by_row = [taken[taken // 1500 == row] % 1500 for row in range(5)]
    assert by_row[0].tolist() == values[0].topk(20).indices.sort().values.tolist()
    assert by_row[1].tolist() == [7, 1400]
    assert by_row[2].tolist() == (values[2] > 0).nonzero().squeeze(1).tolist()
    assert by_row[3].tolist() == list(range(30))
    assert not len(by_row[4])


def test_hot_latents_are_summed_in_chunks():
    n, m, d = 3 * segments.CHUNK + 5, 4, 300
    g = torch.Generator().manual_seed(0)
    fired = torch.rand(n, m, generator=g) < torch.tensor([1.0, 0.34, 0.0, 0.02])
    tokens, latents = fired.nonzero(as_tuple=True)
    offsets = torch.zeros(n + 1, dtype=torch.int64)
    offsets[1:] = fired.sum(1).cumsum(0)
    values, table, own = (torch.randn(*size, generator=g) for size in ((len(tokens),), (n, d), (m, d)))
    codes = SparseCodes(values, latents.int(), offsets, m).to(DEVICE)
    sums, products = segments.by_latent(segments.chunks(codes), table.to(DEVICE), codes.values, own.to(DEVICE))
    dense = torch.zeros(n, m).index_put((tokens, latents), values)
    torch.testing.assert_close(sums.cpu(), dense.T @ table, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(products.cpu(), (table @ own.T)[tokens, latents], rtol=1e-5, atol=1e-4)


@each_kind
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of numpy, in the interpreter
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_not_numbers_are_refused(kind, bad):
    shape = {"tokens": 4, "d_in": 6, "n_latents": 80, "k": 3, "seed": 2, "bias": 0.0}
    t = {name: tensor.detach() for name, tensor in tensors(shape).items()}
    selection = PerLatent(torch.full((80,), 2, device=DEVICE)) if kind == "latent" else selection_of(kind, shape)
    t["x"][:, 2] = 0.0  # times Inf: NaN, as NaN times anything
    t["b_dec"][:] = 0.0
    t["W_enc"][17, 2] = bad
    with pytest.raises(ValueError, match="weights contain NaN or Inf"):
        codes_of(KERNELS["bfloat16"], t, selection)


def test_thresholds_at_the_ends():
    x, W, b = torch.ones(2, 3, device=DEVICE), torch.ones(40, 3, device=DEVICE), torch.zeros(40, device=DEVICE)
    thresholds = torch.full((40,), math.inf, device=DEVICE)
    thresholds[5], thresholds[33], thresholds[7] = -math.inf, 2.999, math.nan
    codes = encode(x, W, b, Above(thresholds), kernel=KERNELS["bfloat16"])
    assert codes.latents.tolist() == [5, 33, 5, 33]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_zero_and_large_values_are_good_values():
    signs = torch.tensor([1.0, 1.0, -1.0, -1.0], device=DEVICE)
    x = torch.full((4, 4), 3e38, device=DEVICE) * signs
    weights = torch.zeros(5, 4, device=DEVICE), torch.ones(5, device=DEVICE)
    for kernel in KERNELS.values():
        assert len(encode(x, *weights, PerToken(2), kernel=kernel).values) == 8
        assert len(encode(torch.zeros_like(x), *weights, PerToken(2), kernel=kernel).values) == 8
        nothing = encode(torch.zeros_like(x), weights[0], 0 * weights[1], PerBatch(2), kernel=kernel)
        assert len(nothing) == 4
        assert not len(nothing.values)


def test_float64_has_the_reference_and_half_weights_are_computed_in_float32():
    shape = {"tokens": 6, "d_in": 8, "n_latents": 40, "k": 3, "seed": 2, "bias": 0.0}
    doubles = {name: t.detach().double().requires_grad_() for name, t in tensors(shape).items()}
    found, want = (run(kernel, doubles, PerToken(3)) for kernel in (KERNELS["bfloat16"], REFERENCE))
    assert found[0].dtype == torch.float64
    assert all(torch.equal(a, b) for a, b in zip(found, want, strict=True))
    halves = {name: t.detach().bfloat16() for name, t in tensors(shape).items()}
    codes = codes_of(KERNELS["bfloat16"], halves, PerToken(3))
    assert codes.values.dtype == torch.float32
    assert torch.equal(codes.latents, codes_of(REFERENCE, halves, PerToken(3)).latents)
    assert decode(codes, halves["W_dec"], halves["b_dec"], kernel=KERNELS["bfloat16"]).dtype == torch.bfloat16


def test_tensors_that_are_on_no_gpu_are_refused(monkeypatch):
    monkeypatch.setattr(kernels, "interpreted", lambda: False)
    x, W, b = torch.ones(2, 3), torch.ones(4, 3), torch.zeros(4)
    with pytest.raises(ValueError, match="need tensors on a CUDA GPU, not on cpu"):
        encode(x, W, b, PerToken(1), kernel=KERNELS["bfloat16"])
    codes = encode(x, W, b, PerToken(1), kernel=REFERENCE)
    with pytest.raises(ValueError, match="need tensors on a CUDA GPU, not on cpu"):
        decode(codes, W, torch.zeros(3), kernel=KERNELS["bfloat16"])


@pytest.mark.parametrize(
    ("capability", "hip", "want"),
    [((9, 0), None, Kernel("triton", "bfloat16")), ((7, 5), None, REFERENCE), ((9, 0), "7.0", REFERENCE)],
)
def test_triton_is_chosen_for_gpus_that_multiply_bfloat16(monkeypatch, capability, hip, want):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.version, "hip", hip)
    backend.runs_triton.cache_clear()
    assert choose("cuda") == want
    backend.runs_triton.cache_clear()


def test_triton_is_imported_only_when_it_runs():
    code = "import sys, saebench.kernels, saebench.saes; assert 'triton' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_triton_its_kernels_say_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    for name in [name for name in sys.modules if name.startswith("saebench.kernels.triton")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("saebench.kernels.triton")
    with pytest.raises(ValueError, match="need the package triton"):
        encode(torch.ones(2, 3), torch.ones(4, 3), torch.zeros(4), PerToken(1), kernel=KERNELS["float32"])
