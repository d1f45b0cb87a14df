"""Batched matching pursuit against one signal at a time, by least squares, and against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import orthogonal_mp_gram
from torch import Tensor
from torch.nn.functional import normalize

from saebench.evaluation.synthetic import pursue


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def one_by_one(signal: np.ndarray, dictionary: np.ndarray, k: int) -> np.ndarray:
    """A dense code by the textbook: choose, fit all by least squares, repeat."""
    chosen: list[int] = []
    residual = signal
    weights = np.zeros(0)
    for _ in range(k):
        scores = np.abs(dictionary @ residual)
        scores[chosen] = -1
        chosen.append(int(scores.argmax()))
        weights = np.linalg.lstsq(dictionary[chosen].T, signal, rcond=None)[0]
        residual = signal - weights @ dictionary[chosen]
    code = np.zeros(len(dictionary))
    code[chosen] = weights
    return code


def dense(weights: Tensor, atoms: Tensor, n_atoms: int) -> np.ndarray:
    return torch.zeros(len(weights), n_atoms, dtype=weights.dtype).scatter_(1, atoms, weights).numpy()


@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("k", [1, 2, 5])
def test_agrees_with_the_textbook_and_scikit_learn(k: int, unit: bool) -> None:
    dictionary, signals = random(30, 12), random(40, 12, seed=1)
    if unit:
        dictionary = normalize(dictionary, dim=1)
    found = dense(*pursue(signals, dictionary, k), 30)
    textbook = np.stack([one_by_one(signal, dictionary.numpy(), k) for signal in signals.numpy()])
    np.testing.assert_allclose(found, textbook, atol=1e-10)
    D, Y = dictionary.numpy(), signals.numpy()
    np.testing.assert_allclose(found, orthogonal_mp_gram(D @ D.T, D @ Y.T, n_nonzero_coefs=k).T, atol=1e-10)


def test_recovers_codes_over_an_orthonormal_dictionary() -> None:
    dictionary = torch.linalg.qr(random(16, 16)).Q
    codes = torch.zeros(20, 16, dtype=torch.float64).scatter_(1, random(20, 16, seed=1).topk(3).indices, 2.0)
    found = dense(*pursue(codes @ dictionary, dictionary, 3), 16)
    np.testing.assert_allclose(found, codes.numpy(), atol=1e-12)


def test_stops_where_the_next_atom_adds_nothing() -> None:
    dictionary = torch.tensor([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    weights, atoms = pursue(torch.tensor([[4.0, 0.0, 0.0], [0.0, 0.0, 0.0], [4.0, 3.0, 0.0]]), dictionary, 3)
    assert weights.isfinite().all()
    np.testing.assert_allclose(dense(weights, atoms, 3), [[0, 2, 0], [0, 0, 0], [0, 2, 3]], atol=1e-6)


def test_atoms_of_a_signal_differ() -> None:
    _, atoms = pursue(random(50, 8), normalize(random(20, 8, seed=1), dim=1), 8)
    assert (atoms.sort(1).values.diff(dim=1) > 0).all()


@pytest.mark.parametrize("k", [0, 4])
def test_refuses_an_impossible_k(k: int) -> None:
    with pytest.raises(ValueError, match=f"k = {k}"):
        pursue(random(2, 3), random(5, 3), k)
