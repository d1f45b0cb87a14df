"""How much of a true dictionary a learned one contains: matching rows by |cosine|."""

from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import normalize


def absolute_cosines(learned: Float[Tensor, "m d"], true: Float[Tensor, "n d"]) -> Float[Tensor, "m n"]:
    """|cos| of every learned row with every true one; a row of zeros has cosine 0 with all."""
    return (normalize(learned.float(), dim=1) @ normalize(true.float(), dim=1).T).abs()


def nearest_feature(learned: Float[Tensor, "m d"], true: Float[Tensor, "n d"]) -> Int[Tensor, " m"]:
    """The true row of largest |cos| for each learned one: the feature a latent is judged by."""
    return absolute_cosines(learned, true).argmax(1)


def mean_matched_cosine(learned: Float[Tensor, "m d"], true: Float[Tensor, "n d"]) -> float:
    """MCC: mean |cos| of the min(m, n) pairs of the best one-to-one matching (Hungarian).

    "Mean correlation coefficient" of O'Neill et al. 2024 (arXiv 2411.13117), as SynthSAEBench uses it.
    """
    cosines = absolute_cosines(learned, true).double().cpu().numpy()
    rows, columns = linear_sum_assignment(cosines, maximize=True)
    return float(cosines[rows, columns].mean())


def uniqueness(learned: Float[Tensor, "m d"], true: Float[Tensor, "n d"]) -> float:
    """Number of different nearest features over the number of latents (SynthSAEBench): 1 when no two share one."""
    return len(nearest_feature(learned, true).unique()) / len(learned)
