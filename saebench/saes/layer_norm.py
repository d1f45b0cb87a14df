"""Per-token layer norm without weights around an SAE, as OpenAI's GPT-2 SAEs have it (Gao et al. 2024's code)."""

from jaxtyping import Float
from torch import Tensor

EPSILON = 1e-5


def normalise(x: Float[Tensor, "tokens d_in"]) -> Float[Tensor, "tokens d_in"]:
    """(x − mean) / (standard deviation + 1e-5) of each token; the deviation is the unbiased one."""
    x = x.float() if x.dtype.itemsize < 4 else x
    return (x - x.mean(1, keepdim=True)) / (x.std(1, keepdim=True) + EPSILON)


def restore(normalised: Float[Tensor, "tokens d_in"], x: Float[Tensor, "tokens d_in"]) -> Float[Tensor, "tokens d_in"]:
    """Back to the mean and deviation of x; as in their code without the 1e-5."""
    x = x.float() if x.dtype.itemsize < 4 else x
    return normalised * deviation(x) + x.mean(1, keepdim=True)


def deviation(x: Float[Tensor, "tokens d_in"]) -> Float[Tensor, "tokens 1"]:
    """The standard deviation of each token: what a change of its layer-normed activation is multiplied by."""
    return (x.float() if x.dtype.itemsize < 4 else x).std(1, keepdim=True)
