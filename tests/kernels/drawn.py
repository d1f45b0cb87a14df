"""What every backend is tested with: tensors and selections drawn from a seed, and what is made of them."""

import torch
from torch import Tensor

from saebench.kernels import Above, Kernel, PerBatch, PerLatent, PerToken, Selection, SparseCodes, decode, encode

SELECTIONS = ("token", "batch", "hinted batch", "latent", "above")


def tensors(shape: dict, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(shape["seed"])
    n, d, m = shape["tokens"], shape["d_in"], shape["n_latents"]
    made = {
        "x": torch.randn(n, d, generator=g),
        "W_enc": torch.randn(m, d, generator=g) / d**0.5,
        "b_enc": torch.randn(m, generator=g) * 0.1 + shape["bias"],
        "W_dec": torch.randn(m, d, generator=g),
        "b_dec": torch.randn(d, generator=g),
    }
    return {name: t.to(device, dtype).requires_grad_() for name, t in made.items()}


def selection_of(kind: str, shape: dict, device: torch.device | str = "cpu") -> Selection:
    """One of each, with tensors drawn from the shape's seed: thresholds below and above zero, budgets with zeros."""
    g = torch.Generator().manual_seed(shape["seed"] + 1)
    n_latents = shape["n_latents"]
    match kind:
        case "token":
            return PerToken(shape["k"])
        case "batch":
            return PerBatch(shape["k"])
        case "hinted batch":
            return PerBatch(shape["k"], expected=float(torch.randn(1, generator=g)) + 1)
        case "latent":
            return PerLatent(torch.randint(0, 6, (n_latents,), generator=g).to(device))
    return Above((torch.randn(n_latents, generator=g) * 0.5 + 0.5).to(device))


def clear_cut(t: dict[str, Tensor], selection: Selection) -> bool:
    """Whether no pre-activation lies so near its threshold that rounding decides."""
    if not isinstance(selection, Above):
        return True
    with torch.no_grad():
        pre = (t["x"] - t["b_dec"]).double() @ t["W_enc"].T.double() + t["b_enc"]
        return not ((pre - selection.thresholds).abs() < 3e-6).any()


def codes_of(kernel: Kernel, t: dict[str, Tensor], selection: Selection, among: Tensor | None = None) -> SparseCodes:
    return encode(t["x"], t["W_enc"], t["b_enc"], selection, centre=t["b_dec"], among=among, kernel=kernel)


def run(kernel: Kernel, t: dict[str, Tensor], selection: Selection, among: Tensor | None = None) -> tuple[Tensor, ...]:
    """Dense codes, reconstruction and the gradients of all five inputs, for a fixed random loss."""
    codes = codes_of(kernel, t, selection, among)
    out = decode(codes, t["W_dec"], t["b_dec"], kernel=kernel)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(0)).to(out)
    loss = (out * weights).sum() + codes.values.square().sum()
    return codes.to_dense(), out, *torch.autograd.grad(loss, list(t.values()))


def assert_close(got: tuple[Tensor, ...], want: tuple[Tensor, ...], tolerance: float) -> None:
    """Equal but for the order of float32 sums, whose terms are about 10 at most and may cancel to almost nothing."""
    for a, b in zip(got, want, strict=True):
        assert a.shape == b.shape
        assert (a - b).norm() <= tolerance * b.norm() + 5e-6
