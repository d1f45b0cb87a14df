"""Scores against brute force, hand-computed cases and an SAE that is the truth."""

import itertools

import pytest
import torch

from saebench.evaluation.synthetic import (
    Detection,
    Forest,
    Moments,
    SyntheticConfig,
    SyntheticModel,
    mean_matched_cosine,
    nearest_feature,
    random_directions,
    score,
    uniqueness,
)
from saebench.kernels.codes import from_entries
from saebench.saes import SAE, JumpReLU


def directions(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return random_directions(n, d, torch.Generator().manual_seed(seed))


def test_a_perfect_dictionary_scores_one_however_ordered_signed_or_scaled() -> None:
    true = directions(20, 12)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    signs = torch.tensor([1.0, -1.0]).repeat(10)[:, None]
    for learned in (true, true[order], signs * true[order], 7 * true):
        assert mean_matched_cosine(learned, true) == pytest.approx(1, abs=1e-6)
        assert uniqueness(learned, true) == 1
    assert torch.equal(nearest_feature(signs * true[order], true), order)


@pytest.mark.parametrize(("m", "n"), [(4, 6), (6, 4), (5, 5)])
def test_matching_is_the_best_of_all(m: int, n: int) -> None:
    learned, true = directions(m, 3), directions(n, 3, seed=1)
    cosines = (learned @ true.T).abs()
    if m > n:
        cosines = cosines.T
    rows = range(len(cosines))
    best = max(
        sum(float(cosines[i, j]) for i, j in zip(rows, chosen, strict=True))
        for chosen in itertools.permutations(range(cosines.shape[1]), len(cosines))
    )
    assert mean_matched_cosine(learned, true) == pytest.approx(best / len(cosines), abs=1e-6)


def test_duplicates_lower_uniqueness_and_matching() -> None:
    true = torch.eye(4)
    learned = true[torch.tensor([0, 0, 1, 2])]
    assert uniqueness(learned, true) == 0.75
    assert mean_matched_cosine(learned, true) == pytest.approx(0.75)


def test_a_zero_row_matches_nothing() -> None:
    learned = torch.eye(3)
    learned[1] = 0
    assert mean_matched_cosine(learned, torch.eye(3)) == pytest.approx(2 / 3)


def test_detection_by_hand() -> None:
    # five tokens; feature 0 fires on 0 1 2, feature 1 on 3; latent 0 on 1 2 3 4, latent 1 never, latent 2 on 3
    truth = from_entries(torch.ones(4), torch.tensor([0, 1, 2, 3]), torch.tensor([0, 0, 0, 1]), (5, 2))
    codes = from_entries(
        torch.tensor([1.0, 2.0, 1.0, 1.0, 1.0, -1.0]),
        torch.tensor([1, 2, 3, 4, 3, 0]),
        torch.tensor([0, 0, 0, 0, 2, 2]),
        (5, 3),
    )
    detection = Detection(torch.tensor([0, 0, 1]))
    detection.add(codes, truth)
    assert detection.precision.tolist() == pytest.approx([0.5, 0, 1])
    assert detection.recall.tolist() == pytest.approx([2 / 3, 0, 1])
    assert detection.f1.tolist() == pytest.approx([4 / 7, 0, 1])
    assert detection.dead == pytest.approx(1 / 3)
    detection.add(codes, truth)  # the same batch again changes no share
    assert detection.f1.tolist() == pytest.approx([4 / 7, 0, 1])


def test_detection_against_dense_counts() -> None:
    draw = torch.Generator().manual_seed(0)
    fired, real = torch.rand(200, 7, generator=draw) < 0.2, torch.rand(200, 11, generator=draw) < 0.3
    feature = torch.tensor([3, 3, 0, 10, 5, 6, 7])
    detection = Detection(feature)
    for part, real_part in zip(fired.split(64), real.split(64), strict=True):
        codes, truth = (
            from_entries(torch.ones(int(d.sum())), *d.nonzero(as_tuple=True), tuple(d.shape)) for d in (part, real_part)
        )
        detection.add(codes, truth)
    target = real[:, feature]
    hit = (fired & target).sum(0).double()
    precision, recall = hit / fired.sum(0), hit / target.sum(0)
    torch.testing.assert_close(detection.precision.double(), precision, check_dtype=False, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(detection.recall.double(), recall, check_dtype=False, atol=1e-6, rtol=1e-6)
    f1 = 2 * precision * recall / (precision + recall)
    torch.testing.assert_close(detection.f1.double(), f1, check_dtype=False, atol=1e-6, rtol=1e-6)


def test_moments_against_the_definitions() -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(500, 6, generator=draw, dtype=torch.float64) + 3
    y = 0.8 * x + 0.1 * torch.randn(500, 6, generator=draw, dtype=torch.float64)
    moments = Moments(6)
    for part, other in zip(x.split(123), y.split(123), strict=True):
        moments.add(part, other)
    variance = (x - x.mean(0)).square().sum(1).mean()
    assert moments.fvu == pytest.approx(float((x - y).square().sum(1).mean() / variance))
    assert moments.relative_bias == pytest.approx(float(y.square().sum() / (x * y).sum()))


def test_moments_of_extreme_reconstructions() -> None:
    x = torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
    for reconstruction, unexplained in ((x, 0.0), (x.mean(0).expand_as(x), 1.0)):
        moments = Moments(4)
        moments.add(x, reconstruction)
        assert moments.fvu == pytest.approx(unexplained, abs=1e-6)
    halved = Moments(4)
    halved.add(x, x / 2)
    assert halved.relative_bias == pytest.approx(0.5)


def true_sae(model: SyntheticModel, decoder: torch.Tensor) -> SAE:
    """Reads each of a model's orthonormal features above a small threshold."""
    m = len(decoder)
    return SAE(
        decoder.clone(),
        torch.zeros(m),
        decoder.clone(),
        model.bias.clone(),
        JumpReLU(),
        log_threshold=torch.full((m,), -3.0),
    )


@pytest.fixture(scope="module")
def orthonormal() -> SyntheticModel:
    config = SyntheticConfig(
        features=30, d_model=32, forest=Forest(2, 3, 2), correlation_rank=3, block_rows=1024,
        spreading_steps=300, smallest_probability=0.05,
    )  # fmt: skip
    model = SyntheticModel(config)
    model.directions = torch.linalg.qr(model.directions.T).Q.T.contiguous()
    return model


def test_the_truth_scores_one(orthonormal: SyntheticModel) -> None:
    scores = score(true_sae(orthonormal, orthonormal.directions), orthonormal, 4096)
    assert scores.f1 == pytest.approx(1, abs=2e-3)  # magnitudes below the threshold are missed
    assert scores.mcc == pytest.approx(1, abs=1e-5)
    assert scores.uniqueness == 1
    assert scores.explained_variance == pytest.approx(1, abs=1e-4)
    assert scores.relative_bias == pytest.approx(1, abs=1e-4)
    assert scores.l0 == pytest.approx(scores.true_l0, rel=2e-3)
    assert scores.dead == 0
    assert scores.tokens == 4096


def test_faults_show_in_the_scores(orthonormal: SyntheticModel) -> None:
    twice = orthonormal.directions[torch.arange(30).clamp(max=28)]
    assert score(true_sae(orthonormal, twice), orthonormal, 1024).uniqueness == pytest.approx(29 / 30)
    short = true_sae(orthonormal, orthonormal.directions)
    short.train()
    with torch.no_grad():
        short.W_dec.mul_(0.5)
        short.log_threshold[0] = 50.0  # never fires
    scores = score(short, orthonormal, 1024)
    assert scores.dead == pytest.approx(1 / 30)
    assert scores.f1 == pytest.approx(29 / 30, abs=3e-3)
    assert scores.relative_bias < 0.6
    assert scores.explained_variance < 0.9
    assert short.training
