"""The synthetic model: each ingredient against its definition, and the whole against its promises."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from saebench.errors import UserError
from saebench.evaluation.synthetic import (
    Forest,
    SyntheticConfig,
    SyntheticModel,
    overlap,
    random_directions,
    spread,
    zipf_probabilities,
)
from saebench.evaluation.synthetic.firing import random_copula
from saebench.evaluation.synthetic.hierarchy import compensated, excluding_parents, gate, scale_by_parents
from saebench.training import Ring

SMALL = SyntheticConfig(
    features=60, d_model=24, forest=Forest(roots=4, branching=3, depth=2), correlation_rank=3, block_rows=512
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_directions_are_unit_and_overlap_is_what_it_says() -> None:
    directions = random_directions(50, 8, generator())
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(50))
    cosines = [max(abs(float(directions[i] @ directions[j])) for j in range(50) if j != i) for i in range(50)]
    assert overlap(directions, chunk=16) == pytest.approx(sum(cosines) / 50, abs=1e-6)


def test_spreading_lowers_overlap() -> None:
    few, many = random_directions(10, 16, generator()), random_directions(64, 16, generator())
    orthonormal = spread(few, 500)
    torch.testing.assert_close(orthonormal @ orthonormal.T, torch.eye(10), atol=1e-3, rtol=0)
    sums = [float((spread(many, steps) @ spread(many, steps).T).square().sum()) for steps in (0, 1, 5, 50)]
    assert sums == sorted(sums, reverse=True)
    assert sums[-1] == pytest.approx(64**2 / 16, rel=1e-3)  # the least possible: a tight frame (Welch's bound)
    torch.testing.assert_close(spread(many, 5).norm(dim=1), torch.ones(64))


def test_zipf_runs_from_largest_to_smallest() -> None:
    p = zipf_probabilities(100, 0.5, 0.4, 5e-4)
    assert float(p[0]) == pytest.approx(0.4)
    assert float(p[-1]) == pytest.approx(5e-4)
    law = torch.arange(1, 101).double() ** -0.5
    torch.testing.assert_close((p[10] - p[50]) / (p[20] - p[90]), ((law[10] - law[50]) / (law[20] - law[90])).float())
    assert zipf_probabilities(1, 0.5, 0.4, 5e-4).tolist() == pytest.approx([0.4])


def test_copula_has_its_marginals_and_correlations() -> None:
    p = torch.tensor([0.5, 0.5, 0.2, 0.01])
    loadings = torch.tensor([[0.6, 0.5], [0.7, -0.1], [0.0, 0.0], [0.3, 0.3]])
    copula = replace(random_copula(p, 2, 0.6, generator()), loadings=loadings, own=1 - loadings.square().sum(1))
    fires = copula.sample(200_000, generator(1)).double()
    torch.testing.assert_close(fires.mean(0).float(), p, atol=0.004, rtol=0)
    # standard normals of correlation ρ agree in sign with probability ½ + asin(ρ)/π
    rho = 0.6 * 0.7 - 0.5 * 0.1
    agree = float((fires[:, 0] == fires[:, 1]).double().mean())
    assert agree == pytest.approx(0.5 + math.asin(rho) / math.pi, abs=0.005)


def test_strong_loadings_are_shrunk_to_leave_variance() -> None:
    copula = random_copula(torch.full((20,), 0.1), 10, 5.0, generator())
    assert float(copula.own.min()) >= 0.0099
    torch.testing.assert_close(copula.loadings.square().sum(1) + copula.own, torch.ones(20))


def test_forest_numbers_its_features_level_by_level() -> None:
    forest = Forest(roots=2, branching=3, depth=2)
    assert forest.levels() == [(0, 2), (2, 8), (8, 26)]
    assert forest.size == 26
    parents = forest.parents(28).tolist()
    assert parents[:8] == [-1, -1, 0, 0, 0, 1, 1, 1]
    assert parents[8:26] == [2 + i // 3 for i in range(18)]
    assert parents[26:] == [-1, -1]
    assert Forest(roots=0, branching=4, depth=3).size == 0


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_gated_features_obey_the_trees(share: float) -> None:
    forest = Forest(roots=2, branching=3, depth=2)
    excluding = excluding_parents(forest, share, generator())
    drawn = torch.rand(2000, 30, generator=generator(1)) < 0.6
    fires = gate(drawn.clone(), forest, excluding, generator(2))
    parents = forest.parents(30)
    for feature in range(30):
        if parents[feature] >= 0:
            assert not (fires[:, feature] & ~fires[:, parents[feature]]).any()
    assert not (fires & ~drawn).any()
    assert torch.equal(fires[:, :2], drawn[:, :2])
    assert torch.equal(fires[:, 26:], drawn[:, 26:])
    siblings = fires[:, 2:26].view(2000, 8, 3).sum(2)
    wanted = torch.stack([drawn[:, 2 + 3 * i : 5 + 3 * i].any(1) for i in range(8)], 1)
    if share:
        assert int(siblings.max()) == 1
        # who fires is decided by lot, and somebody does wherever somebody would have
        assert torch.equal(siblings[:, :2] == 1, wanted[:, :2] & fires[:, :2])
        by_lot = fires[:, 2:5].double().mean(0)
        torch.testing.assert_close(by_lot, by_lot.mean().expand(3), atol=0.04, rtol=0)
    else:
        assert int(siblings.max()) == 3


def test_excluding_share_counts_parents() -> None:
    forest = Forest(roots=4, branching=2, depth=2)
    assert len(excluding_parents(forest, 0.5, generator())) == 12
    assert int(excluding_parents(forest, 0.5, generator()).sum()) == 6


def test_compensation_by_hand_and_in_effect() -> None:
    forest = Forest(roots=1, branching=2, depth=1)
    p = torch.tensor([0.5, 0.1, 0.05, 0.02])
    gated = compensated(p, forest, torch.tensor([False]))
    torch.testing.assert_close(gated, torch.tensor([0.5, 0.2, 0.1, 0.02]))
    apart = compensated(p, forest, torch.tensor([True]))
    torch.testing.assert_close(apart, torch.tensor([0.5, 0.2 * 1.1, 0.1 * 1.2, 0.02]))
    assert float(compensated(torch.tensor([0.1, 0.3, 0.2]), forest, torch.tensor([False])).max()) == 1
    for excluding, probabilities in ((False, gated), (True, apart)):
        drawn = torch.rand(200_000, 4, generator=generator()) < probabilities
        fires = gate(drawn, forest, torch.tensor([excluding]), generator(1)).double().mean(0)
        torch.testing.assert_close(fires.float(), p, atol=0.004, rtol=0)


def test_children_are_scaled_down_the_tree() -> None:
    forest = Forest(roots=1, branching=1, depth=2)
    means = torch.tensor([4.0, 5.0, 2.0, 1.0])
    rows, features = torch.tensor([0, 0, 0, 1, 1, 1]), torch.tensor([0, 1, 2, 0, 1, 3])
    values = torch.tensor([2.0, 10.0, 3.0, 8.0, 5.0, 7.0])
    scaled = scale_by_parents(values, rows, features, means, forest)
    torch.testing.assert_close(scaled, torch.tensor([2.0, 5.0, 3.0, 8.0, 10.0, 7.0]))


def test_blocks_are_a_function_of_their_number() -> None:
    first, again = SyntheticModel(SMALL), SyntheticModel(SMALL)
    blocks = list(itertools.islice(first.blocks(), 3))
    assert torch.equal(next(again.blocks(2)), blocks[2])
    assert blocks[0].shape == (512, 24)
    assert not torch.equal(blocks[0], blocks[1])
    assert not torch.equal(next(first.held_out(1))[0], blocks[0])
    assert len(list(first.held_out(513))) == 2
    assert not torch.equal(next(SyntheticModel(replace(SMALL, seed=1)).blocks()), blocks[0])


def test_ingredients_are_independent_of_each_other() -> None:
    plain, other = SyntheticModel(SMALL), SyntheticModel(replace(SMALL, bias_norm=2.0, correlation_scale=0.3))
    assert torch.equal(plain.directions, other.directions)
    torch.testing.assert_close(4 * plain.bias, other.bias)


def test_activations_are_directions_times_codes() -> None:
    model = SyntheticModel(replace(SMALL, bias_norm=1.5))
    x, codes = next(model.held_out(1))
    torch.testing.assert_close(x, codes.to_dense() @ model.directions + model.bias)
    assert float(model.bias.norm()) == pytest.approx(1.5)
    assert float(codes.values.min()) > 0


def test_noise_is_what_is_left() -> None:
    model = SyntheticModel(replace(SMALL, noise=0.2))
    x, codes = next(model.held_out(1))
    left = x - codes.to_dense() @ model.directions - model.bias
    assert float(left.std()) == pytest.approx(0.2, rel=0.03)


def test_firing_and_magnitudes_follow_the_settings() -> None:
    config = replace(SMALL, forest=Forest(0, 1, 0), correlation_rank=0, deviation_mean=0.1, deviation_spread=0.0)
    model = SyntheticModel(config)
    codes = model.codes(50_000, generator())
    dense = codes.to_dense()
    fires = (dense > 0).float()
    torch.testing.assert_close(fires.mean(0), model.probabilities, atol=0.01, rtol=0)
    means = dense.sum(0) / fires.sum(0)
    torch.testing.assert_close(means, torch.linspace(5, 4, 60), atol=0.05, rtol=0)
    assert float(dense[:, 0][dense[:, 0] > 0].std()) == pytest.approx(0.1, rel=0.05)


def test_the_trainer_can_read_it() -> None:
    ring = Ring(SyntheticModel(SMALL), 1024, 256, 0)
    assert ring.next().shape == (256, 24)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"features": 0}, "features"),
        ({"d_model": 0}, "d_model"),
        ({"largest_probability": 1.0}, "largest_probability"),
        ({"smallest_probability": 0.0}, "smallest_probability"),
        ({"forest": Forest(10, 4, 3)}, "forest needs 850 features"),
    ],
)
def test_senseless_settings_are_refused(change: dict, name: str) -> None:
    with pytest.raises(UserError, match=name):
        replace(SMALL, **change)
