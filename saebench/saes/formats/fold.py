"""What other libraries do at run time, folded into weights and biases: the same SAE, exactly.

Decisions: all take and give our tensors by name and change none in place. What has to be multiplied or added becomes
float32 where it was shorter, because rounding the product again would make another SAE; the rest keeps its type.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from saebench.saes.formats.checks import Tensors


def wide(tensor: Tensor) -> Tensor:
    """In float32, unless it is float64."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def centre(tensors: Tensors, sign: int = 1) -> Tensors:
    """An SAE of x as an SAE of x − b_dec: the biases take what is missing. With sign −1 the way back."""
    shift = sign * (wide(tensors["W_enc"]) @ wide(tensors["b_dec"]))
    if "r_mag" not in tensors:
        return tensors | {"b_enc": wide(tensors["b_enc"]) + shift}
    return tensors | {
        "b_gate": wide(tensors["b_gate"]) + shift,
        "b_enc": wide(tensors["b_enc"]) + wide(tensors["r_mag"]).exp() * shift,
    }


def unit_rows(tensors: Tensors) -> Tensors:
    """The same reconstruction from unit decoder rows: the encoder takes their norms, codes are multiplied by them."""
    norms = row_norms(tensors)
    return tensors | {
        "W_enc": wide(tensors["W_enc"]) * norms[:, None],
        "b_enc": wide(tensors["b_enc"]) * norms,
        "W_dec": wide(tensors["W_dec"]) / norms[:, None],
    }


def row_norms(tensors: Tensors) -> Float[Tensor, " n_latents"]:
    """Norms of the decoder's rows, kept away from zero."""
    return torch.linalg.vector_norm(wide(tensors["W_dec"]), dim=1).clamp_min(1e-8)


def has_unit_rows(tensors: Tensors) -> bool:
    """Whether the decoder's rows have unit norm but for rounding."""
    norms = row_norms(tensors)
    return torch.allclose(norms, torch.ones_like(norms))


def scale_input(tensors: Tensors, factor: float) -> Tensors:
    """An SAE of factor · x as an SAE of x with the same codes."""
    return tensors | {
        "W_enc": wide(tensors["W_enc"]) * factor,
        "W_dec": wide(tensors["W_dec"]) / factor,
        "b_dec": wide(tensors["b_dec"]) / factor,
    }


def log_threshold(threshold: Float[Tensor, " n_latents"]) -> Float[Tensor, " n_latents"]:
    """What JumpReLU keeps: the logarithm, −Inf for a threshold of zero or (in libraries with a ReLU first) below."""
    return wide(threshold).double().clamp_min(0).log().float()
