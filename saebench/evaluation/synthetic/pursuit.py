"""Orthogonal matching pursuit (Pati et al. 1993) for a batch of signals at once.

Decisions: an orthonormal basis of the chosen atoms is grown by Gram–Schmidt, so that each round costs one product with
the dictionary and the residual is never recomputed; the least-squares weights fall out of one triangular solve at the
end. Atoms compete by their inner product with the residual, not by cosine: on masked coordinates, where atoms are no
longer of unit norm, that is what Chidambaram et al. (2023) do.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


@torch.no_grad()
def pursue(
    signals: Float[Tensor, "n d"], dictionary: Float[Tensor, "atoms d"], k: int
) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"]]:
    """Weights and atoms of at most k-sparse codes, atoms in the order chosen.

    Each round takes the atom of largest |⟨atom, residual⟩|, then fits all chosen atoms by least squares. A signal whose
    next atom depends linearly on those before (its residual is zero, say) gets weight 0 from there on.
    Raises ValueError for k outside 1 … min(atoms, d).
    """
    if not 1 <= k <= min(dictionary.shape):
        raise ValueError(f"pursue: k = {k} must be in 1 … {min(dictionary.shape)}, a dictionary of {dictionary.shape}")
    residual = signals.clone()
    n, d = signals.shape
    chosen = torch.empty(n, k, dtype=torch.int64, device=signals.device)
    basis = signals.new_zeros(n, k, d)
    upper = signals.new_zeros(n, k, k)
    upper.diagonal(dim1=1, dim2=2).fill_(1)
    along = signals.new_zeros(n, k)
    alive = torch.ones(n, dtype=torch.bool, device=signals.device)
    tolerance = torch.finfo(signals.dtype).eps ** 0.5
    for t in range(k):
        scores = (residual @ dictionary.T).abs_()
        if t:
            scores.scatter_(1, chosen[:, :t], -1)
        chosen[:, t] = scores.argmax(1)
        atom = dictionary[chosen[:, t]]
        norm = torch.linalg.vector_norm(atom, dim=1)
        if t:
            shared = torch.einsum("ntd,nd->nt", basis[:, :t], atom)
            atom = atom - torch.einsum("nt,ntd->nd", shared, basis[:, :t])
        rest = torch.linalg.vector_norm(atom, dim=1)
        alive &= rest > tolerance * norm
        direction = torch.where(alive[:, None], atom / rest[:, None], 0)
        basis[:, t] = direction
        if t:
            upper[:, :t, t] = torch.where(alive[:, None], shared, 0)
        upper[:, t, t] = torch.where(alive, rest, 1)
        along[:, t] = torch.einsum("nd,nd->n", direction, residual)
        residual -= along[:, t, None] * direction
    weights = torch.linalg.solve_triangular(upper, along[:, :, None], upper=True).squeeze(2)
    return weights, chosen
