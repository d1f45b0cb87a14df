"""Masked sparse coding (Chidambaram et al. 2023, "Hiding Data Helps: On the Benefits of Masking for Sparse Coding").

With noise, a dictionary larger than the true one that is fitted by plain reconstruction learns the noise. Coding each
signal on some of its coordinates and judging the code on the others prevents that, since noise is not shared.

Decisions, from the authors' published code where the paper leaves them open:
- A code has k Gaussian entries at random places and unit norm; noise of standard deviation σ is added per coordinate.
- The learned dictionary starts at fresh noisy samples of unit norm. In the published curve over σ, as many of its rows
  as the true dictionary has start at the truth instead: the question is whether the objective stays there.
- One random mask per batch; 90 of 100 coordinates are shown to the pursuit, the loss is on the 10 hidden ones.
- The code is held fixed in the gradient; Adam, then unit rows. The batches come in one order, never shuffled.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from saebench.evaluation.synthetic.pursuit import pursue


def sparse_codes(n: int, atoms: int, k: int, generator: torch.Generator) -> Float[Tensor, "n atoms"]:
    """Codes of unit norm with k standard Gaussian entries at uniformly random places."""
    places = torch.rand(n, atoms, generator=generator).topk(k, dim=1).indices
    values = normalize(torch.randn(n, k, generator=generator), dim=1)
    return torch.zeros(n, atoms).scatter_(1, places, values)


def noisy_signals(
    n: int, dictionary: Float[Tensor, "atoms d"], k: int, noise: float, generator: torch.Generator
) -> Float[Tensor, "n d"]:
    """Signals z A + ε with k-sparse z of unit norm and ε of standard deviation `noise` in each coordinate."""
    signals = sparse_codes(n, len(dictionary), k, generator) @ dictionary
    return signals + noise * torch.randn(signals.shape, generator=generator)


def starting_dictionary(
    size: int,
    dictionary: Float[Tensor, "atoms d"],
    k: int,
    noise: float,
    generator: torch.Generator,
    *,
    from_truth: bool,
) -> Float[Tensor, "size d"]:
    """Noisy samples of unit norm; `from_truth` puts the true dictionary in place of the first of them."""
    start = normalize(noisy_signals(size, dictionary, k, noise, generator), dim=1)
    if from_truth:
        start[: len(dictionary)] = dictionary
    return start


def hidden_error(
    dictionary: Float[Tensor, "atoms d"],
    signals: Float[Tensor, "n d"],
    k: int,
    visible: Int[Tensor, " v"],
    hidden: Int[Tensor, " h"],
) -> Float[Tensor, ""]:
    """Mean over signals of the squared error on the hidden coordinates of codes fitted to the visible ones.

    Plain reconstruction is the case where both are all coordinates. Differentiable in the dictionary with codes fixed.
    """
    weights, atoms = pursue(signals[:, visible], dictionary[:, visible], k)
    predicted = torch.einsum("nk,nkh->nh", weights, dictionary[:, hidden][atoms])
    return (signals[:, hidden] - predicted).square().sum(1).mean()


def fit_dictionary(
    start: Float[Tensor, "atoms d"],
    signals: Float[Tensor, "n d"],
    k: int,
    visible: int,
    generator: torch.Generator,
    *,
    epochs: int = 500,
    batch: int = 200,
    lr: float = 1e-3,
) -> Float[Tensor, "atoms d"]:
    """A dictionary of unit rows fitted to the signals; `visible` = d is plain reconstruction, less is masking."""
    dictionary = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([dictionary], lr=lr, fused=True)
    d = signals.shape[1]
    everything = torch.arange(d)
    for _ in range(epochs):
        for part in signals.split(batch):
            shown = hidden = everything
            if visible < d:
                order = torch.randperm(d, generator=generator)
                shown, hidden = order[:visible], order[visible:]
            optimizer.zero_grad()
            hidden_error(dictionary, part, k, shown, hidden).backward()
            optimizer.step()
            with torch.no_grad():
                dictionary.copy_(normalize(dictionary, dim=1))
    return dictionary.detach()


def nearest_cosine_distance(true: Float[Tensor, "atoms d"], learned: Float[Tensor, "others d"]) -> float:
    """Mean over the true atoms of the cosine distance, up to sign, to the nearest learned one; 0 is recovery."""
    cosines = normalize(true, dim=1) @ normalize(learned, dim=1).T
    return float((1 - cosines.abs().amax(1)).mean())
