"""Interventions written out densely: decode(f') + error at whole texts in plain hooks of transformers' own model."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from saebench.saes import SAE, JumpReLU, Rule, TopK

WIDTH, N, K = 256, 512, 16
POINTS: dict[str, Callable[[nn.Module], tuple[nn.Module, str]]] = {
    "blocks.1.hook_resid_post": lambda hf: (hf.transformer.h[1], "out"),
    "blocks.2.hook_resid_post": lambda hf: (hf.transformer.h[2], "out"),
    "blocks.1.hook_mlp_out": lambda hf: (hf.transformer.h[1].mlp, "out"),
    "blocks.2.attn.hook_z": lambda hf: (hf.transformer.h[2].attn.c_proj, "in"),
}


def make_sae(seed: int = 0, rule: Rule | None = None, **how: object) -> SAE:
    """A random SAE with biases and decoder rows of several norms."""
    generator = torch.Generator().manual_seed(seed)
    sae = SAE.create(WIDTH, N, rule or TopK(k=K), seed, **how)  # type: ignore[arg-type]
    with torch.no_grad():
        sae.b_dec.copy_(0.1 * torch.randn(WIDTH, generator=generator))
        sae.b_enc.copy_(0.1 * torch.randn(N, generator=generator))
        sae.W_dec.mul_(0.5 + torch.rand(N, 1, generator=generator))
        if isinstance(sae.rule, JumpReLU):
            sae.log_threshold.copy_(torch.rand(N, generator=generator) - 0.5)  # type: ignore[union-attr]
    return sae.eval()


def codes(sae: SAE, x: Tensor) -> Tensor:
    """Dense codes by the definitions of the rules."""
    pre = (x - sae.b_dec) @ sae.W_enc.T + sae.b_enc
    if isinstance(sae.rule, JumpReLU):
        return torch.where(pre > sae.log_threshold.exp(), pre, 0)  # type: ignore[operator]
    kth = pre.topk(K, dim=-1).values[..., -1:]
    return torch.where(pre >= kth, pre, 0).clamp_min(0)


def decode(sae: SAE, f: Tensor) -> Tensor:
    return f @ sae.W_dec + sae.b_dec


@torch.no_grad()
def logits(hf: nn.Module, tokens: Tensor, changes: Mapping[str, Callable[[Tensor], Tensor]]) -> Tensor:
    """Logits of whole texts with what hook points hold replaced by a function of it."""
    handles = []
    for point, change in changes.items():
        module, end = POINTS[point](hf)

        def after(_m, _i, out, change=change):  # type: ignore[no-untyped-def]
            return (change(out[0]), *out[1:]) if isinstance(out, tuple) else change(out)

        def before(_m, given, change=change):  # type: ignore[no-untyped-def]
            return (change(given[0]), *given[1:])

        hook = module.register_forward_hook(after) if end == "out" else module.register_forward_pre_hook(before)
        handles.append(hook)
    try:
        return hf(tokens).logits
    finally:
        for handle in handles:
            handle.remove()


def often_fired(sae: SAE, hf: nn.Module, tokens: Tensor, point: str, most: float = 0.99) -> list[int]:
    """Features that fire on some ordinary tokens of a text, but not on a larger share; the most frequent first."""
    seen: list[Tensor] = []
    logits(hf, tokens, {point: lambda x: seen.append(x) or x})  # type: ignore[func-returns-value]
    counts = (codes(sae, seen[0][0, 1:]) > 0).sum(0)
    counts[counts > most * (tokens.shape[1] - 1)] = 0
    return counts.argsort(descending=True).tolist()
