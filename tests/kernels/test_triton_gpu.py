"""The Triton kernels on a GPU, at sizes for which the interpreter is too slow. The other tests run there as well."""

import pytest
import torch

from saebench.kernels import Above, Kernel, PerBatch, PerLatent, PerToken, Selection, choose, decode, encode

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]
TRITON, REFERENCE = Kernel("triton", "bfloat16"), Kernel("reference")


def random(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed)).cuda()


@pytest.mark.parametrize("kind", ["token", "batch", "latent", "above"])
def test_training_sizes_against_the_reference(kind):
    n, d, m, k = 2048, 768, 12_000, 32
    x, W, b = random(n, d), (random(m, d, seed=1) / d**0.5).requires_grad_(), random(m, seed=2) * 0.1
    W_dec = random(m, d, seed=3).requires_grad_()
    selection: Selection = {
        "token": PerToken(k),
        "batch": PerBatch(k),
        "latent": PerLatent(torch.randint(0, 20, (m,)).cuda()),
        "above": Above(torch.full((m,), 2.7).cuda()),
    }[kind]
    found, want = (encode(x, W, b, selection, kernel=kernel) for kernel in (TRITON, REFERENCE))
    # float32 decides in both, but sums in another order: an entry within rounding of its cut may differ
    shared = set(zip(found.tokens.tolist(), found.latents.tolist(), strict=True)) & set(
        zip(want.tokens.tolist(), want.latents.tolist(), strict=True)
    )
    assert len(shared) >= (1 - 1e-4) * max(len(found.values), len(want.values))
    dense = (x @ W.T + b)[found.tokens.long(), found.latents.long()]
    torch.testing.assert_close(found.values, dense, rtol=1e-5, atol=1e-5)

    weights = random(n, d, seed=4)

    def gradients(kernel: Kernel) -> list[torch.Tensor]:
        entries = found.with_values(dense) if kernel is REFERENCE else found
        out = decode(entries, W_dec, torch.zeros(d).cuda(), kernel=kernel)
        return [out, *torch.autograd.grad((out * weights).sum(), [W, W_dec], retain_graph=True)]

    for mine, theirs in zip(gradients(TRITON), gradients(REFERENCE), strict=True):
        assert (mine - theirs).norm() <= 1e-5 * theirs.norm()
    again = encode(x, W, b, selection, kernel=TRITON)
    assert torch.equal(again.values, found.values)
    assert torch.equal(again.latents, found.latents)
    assert all(torch.equal(a, b) for a, b in zip(gradients(TRITON), gradients(TRITON), strict=True))


def test_nothing_dense_is_allocated():
    n, d, m, k = 8192, 256, 65_536, 32
    x, W, b = random(n, d), random(m, d, seed=1).requires_grad_(), torch.zeros(m).cuda()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    codes = encode(x, W, b, PerToken(k), kernel=TRITON)
    decode(codes, W, torch.zeros(d).cuda(), kernel=TRITON).square().sum().backward()
    risen = torch.cuda.max_memory_allocated() - before
    assert risen - 3 * W.nbytes < n * m * 4 / 4  # the gradients of both uses of W, and their sum


@pytest.mark.parametrize(("n", "d", "m"), [(33_000, 16, 2**16 + 8), (8, 2304, 2**20)], ids=["n·m", "m·d"])
def test_offsets_beyond_32_bits(n, d, m):
    if torch.cuda.mem_get_info()[0] < 40 * 2**30:
        pytest.skip("needs 40 GiB of GPU memory")
    x, b = random(n, d), torch.zeros(m).cuda()
    W = torch.randn(m, d, device="cuda", generator=torch.Generator("cuda").manual_seed(0)).requires_grad_()
    codes = encode(x, W, b, PerToken(4), kernel=TRITON)
    rows = torch.tensor([0, n // 2, n - 1])
    want = (x[rows] @ W.T.detach()).topk(4).values
    found = codes.values.view(n, 4)[rows].sort(1, descending=True).values
    torch.testing.assert_close(found, want, rtol=1e-5, atol=1e-4)
    decode(codes, W, torch.zeros(d).cuda(), kernel=TRITON)[-1].sum().backward()
    last, value = codes.latents[-1].long(), codes.values[-1].detach()
    want = value + W[last].detach().sum() * x[-1]  # as a decoder row, and as an encoder row of the same latent
    torch.testing.assert_close(W.grad[last], want, rtol=1e-4, atol=1e-3)


def test_the_gpu_has_these_kernels():
    assert choose("cuda") == TRITON
