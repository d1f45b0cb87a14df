"""Masked sparse coding: data, loss and its gradient against brute force; masking helps where there is noise."""

import pytest
import torch
from torch.nn.functional import normalize

from saebench.evaluation.synthetic import fit_dictionary, nearest_cosine_distance, noisy_signals, pursue
from saebench.evaluation.synthetic.masked_coding import hidden_error, sparse_codes, starting_dictionary


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_codes_are_sparse_and_of_unit_norm() -> None:
    codes = sparse_codes(100, 20, 3, generator())
    assert ((codes != 0).sum(1) == 3).all()
    torch.testing.assert_close(codes.norm(dim=1), torch.ones(100))
    assert ((codes != 0).sum(0) > 0).all()


def test_noise_is_per_coordinate() -> None:
    dictionary = torch.zeros(4, 50)
    noise = noisy_signals(4000, dictionary, 2, 0.1, generator())
    assert float(noise.std()) == pytest.approx(0.1, rel=0.01)


def test_start_holds_the_truth_on_request_only() -> None:
    true = normalize(torch.randn(5, 30, generator=generator()), dim=1)
    with_truth = starting_dictionary(12, true, 2, 0.1, generator(1), from_truth=True)
    without = starting_dictionary(12, true, 2, 0.1, generator(1), from_truth=False)
    torch.testing.assert_close(with_truth[:5], true)
    torch.testing.assert_close(with_truth[5:], without[5:])
    assert nearest_cosine_distance(true, without) > 0.05
    torch.testing.assert_close(without.norm(dim=1), torch.ones(12))


def test_hidden_error_is_that_of_a_code_fitted_to_what_is_visible() -> None:
    dictionary = normalize(torch.randn(15, 8, generator=generator(), dtype=torch.float64), dim=1).requires_grad_()
    signals = torch.randn(6, 8, generator=generator(1), dtype=torch.float64)
    visible, hidden = torch.tensor([6, 0, 3, 5, 1]), torch.tensor([2, 7, 4])
    loss = hidden_error(dictionary, signals, 2, visible, hidden)
    loss.backward()

    weights, atoms = pursue(signals[:, visible], dictionary.detach()[:, visible], 2)
    code = torch.zeros(6, 15, dtype=torch.float64).scatter_(1, atoms, weights)
    error = code @ dictionary.detach()[:, hidden] - signals[:, hidden]
    torch.testing.assert_close(loss.detach(), error.square().sum(1).mean())
    expected = torch.zeros(15, 8, dtype=torch.float64)
    expected[:, hidden] = 2 * code.T @ error / 6
    torch.testing.assert_close(dictionary.grad, expected)


def test_nearest_cosine_distance_by_hand() -> None:
    true = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    learned = torch.tensor([[-3.0, 0.0], [0.6, 0.8], [1.0, 1.0]])
    assert nearest_cosine_distance(true, learned) == pytest.approx((0 + 0.2) / 2, abs=1e-6)
    assert nearest_cosine_distance(true, -true) == pytest.approx(0, abs=1e-6)


def test_fitted_rows_are_of_unit_norm_and_repeatable() -> None:
    true = normalize(torch.randn(6, 10, generator=generator()), dim=1)
    signals = noisy_signals(40, true, 2, 0.05, generator(1))
    first, again = (fit_dictionary(signals[:12], signals, 2, 8, generator(2), epochs=3, batch=20) for _ in range(2))
    torch.testing.assert_close(first.norm(dim=1), torch.ones(12))
    assert torch.equal(first, again)


def test_masking_keeps_the_truth_that_reconstruction_leaves() -> None:
    true = normalize(torch.randn(30, 20, generator=generator()), dim=1)
    start = starting_dictionary(120, true, 3, 0.15, generator(1), from_truth=True)
    signals = noisy_signals(200, true, 3, 0.15, generator(2))
    plain, masked = (
        nearest_cosine_distance(true, fit_dictionary(start, signals, 3, visible, generator(3), epochs=60, batch=50))
        for visible in (20, 17)
    )
    assert masked < 0.7 * plain
