"""Random SAEs, ours and others', far from any initialisation: nothing zero, no decoder row of unit norm."""

import torch

from saebench.saes import (
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
)

D, M = 24, 96

OURS: dict[str, Rule] = {
    "topk": TopK(5),
    "multi-topk": TopK(5, multi_k=20),
    "archetypal": Archetypal(5),
    "batchtopk": BatchTopK(5),
    "mutual_choice": MutualChoice(5),
    "feature_choice, first phase": FeatureChoice(5, mutual_tokens=10),
    "feature_choice": FeatureChoice(5, mutual_tokens=0),
    "matryoshka": Matryoshka(5, prefixes=(0.25, 0.5, 1.0)),
    "jumprelu": JumpReLU(),
    "jumprelu_tanh": JumpReLUTanh(),
    "gated": Gated(),
    "relu": ReLU(),
}


def ours(
    rule: Rule, normalise: str = "none", seed: int = 0, unit: bool = False, d_in: int = D, n_latents: int = M
) -> SAE:
    """An SAE of ours in `eval`, unit decoder rows on request; latents of Feature Choice that never fired among them."""
    torch.manual_seed(seed)
    sae = SAE.create(d_in, n_latents, rule, normalise=normalise)
    with torch.no_grad():
        for tensor in (sae.W_enc, sae.W_dec):
            tensor.copy_(torch.randn(n_latents, d_in) * 0.3)
        if unit:
            sae.W_dec.div_(sae.W_dec.norm(dim=1, keepdim=True))
        sae.b_enc.copy_(torch.randn(n_latents) * 0.5)
        sae.b_dec.copy_(torch.randn(d_in))
        for name, tensor in sae.state_dict().items():
            if name == "threshold":
                tensor.fill_(0.4)
            elif name in ("thresholds", "density"):
                tensor.copy_(torch.rand(n_latents))
            elif name == "log_threshold":
                tensor.copy_(torch.rand(n_latents).add(0.1).log())
            elif name in ("r_mag", "b_gate"):
                tensor.copy_(torch.randn(n_latents) * 0.5)
        if isinstance(rule, FeatureChoice) and rule.mutual_tokens == 0:
            sae.thresholds[::7] = torch.nan
    return sae.eval()


def shake(module: torch.nn.Module, seed: int = 1) -> None:
    """Give every parameter of another library's module random values, thresholds positive ones."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "log_" in name:
                parameter.copy_(noise * 0.5 - 1)
            elif "threshold" in name:
                parameter.copy_(noise.abs() * 0.5)
            else:
                parameter.copy_(noise * (0.3 if parameter.ndim == 2 else 0.5))
