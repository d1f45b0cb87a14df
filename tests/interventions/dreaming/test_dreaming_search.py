"""The search and its frontier, against brute force, numbers by hand and chance."""

from itertools import pairwise
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from saebench.errors import UserError
from saebench.interventions.dreaming.config import DreamConfig
from saebench.interventions.dreaming.epo import Births, Scores, born, epo, select
from saebench.interventions.dreaming.frontier import pareto

VALUES = st.integers(-3, 3).map(float)  # few, so that many are alike
ALLOWED = torch.arange(1, 40)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=30))
def test_the_frontier_is_what_nothing_dominates(points: list[tuple[float, float]]):
    activation, cross_entropy = torch.tensor(points).T
    found = pareto(activation, cross_entropy).tolist()

    def dominated(a: tuple[float, float]) -> bool:
        return any(b[0] >= a[0] and b[1] <= a[1] and b != a for b in points)

    assert {points[i] for i in found} == {point for point in points if not dominated(point)}
    assert len({points[i] for i in found}) == len(found)
    assert [points[i][1] for i in found] == sorted(points[i][1] for i in found)
    assert all(points.index(points[i]) == i for i in found)


def test_each_penalty_keeps_its_own_best():
    target, cross_entropy = torch.tensor([5.0, 3.0, 0.0]), torch.tensor([9.0, 4.0, 1.0])
    scores = Scores(target, target, cross_entropy)
    # −5 + .1·9 = −4.1, −3 + .4, .1; at 1: 4, 1, 1 (the first of equals); at 10: 85, 37, 10
    assert select(scores, torch.tensor([0.1, 1.0, 10.0])).tolist() == [0, 1, 2]


def test_children_differ_in_one_token_of_the_steepest():
    config = DreamConfig(population=2, tokens=3, children=50, candidates=4)
    members = torch.tensor([[1, 2, 3], [4, 5, 6]])
    gradient = torch.randn(2, 3, 40, generator=torch.Generator().manual_seed(0))
    gradient[0, 0, 1] = gradient[1, 2, 0] = -100.0  # the token it has; one that is not allowed
    births = born(gradient, members, ALLOWED, config, torch.Generator().manual_seed(1))
    prompts = births.prompts(members)
    seen = set()
    for i, (member, position, token) in enumerate(zip(*births, strict=True)):
        where = (prompts[i] != members[member]).nonzero()[:, 0].tolist()
        assert where == [int(position)]
        row = {t: float(gradient[member, position, t]) for t in ALLOWED.tolist() if t != members[member, position]}
        assert int(token) in sorted(row, key=lambda t: row[t])[:4]
        seen.add((int(member), int(position)))
    assert births.member.tolist() == [0] * 50 + [1] * 50
    assert len(seen) == 6


class Linear:
    """Prompts whose target is the sum of a value for each (position, token), and whose cross-entropy another's mean."""

    class Graded(NamedTuple):
        prompts: Tensor
        scores: Scores
        gradient: Tensor

    def __init__(self, seed: int = 0, n: int = 6, vocab: int = 40) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.value, self.price = torch.randn(2, n, vocab, generator=generator)
        self.value *= 1 + torch.arange(n)[:, None]
        self.asked: list[Tensor] = []

    def score(self, prompts: Tensor) -> Scores:
        at = torch.arange(prompts.shape[1])
        target, price = self.value[at, prompts].sum(1), self.price[at, prompts].mean(1) + 3
        return Scores(target, target.clamp_min(0), price)

    def graded(self, prompts: Tensor, penalties: Tensor) -> Graded:
        self.asked.append(prompts)
        slope = penalties[:, None, None] * self.price / prompts.shape[1] - self.value
        return self.Graded(prompts, self.score(prompts), slope)

    def children(self, parents: Graded, births: Births) -> Scores:
        return self.score(births.prompts(parents.prompts))


SEARCH = DreamConfig(tokens=6, iterations=60, population=4, children=16, candidates=8, restart_every=20)


def test_it_finds_the_best_of_all_and_more_than_chance():
    objective = Linear()
    seen = epo(objective, ALLOWED, SEARCH, seed=3)
    assert len(seen.prompts) == 60 * 4 * 17
    best = objective.value[:, 1:].amax(1).sum()
    assert float(seen.scores.target.max()) == pytest.approx(float(best), rel=1e-5)
    drawn = ALLOWED[torch.randint(len(ALLOWED), seen.prompts.shape, generator=torch.Generator().manual_seed(0))]
    chance = objective.score(drawn)
    for penalty in (0.1, 1.0, 10.0):
        losses = [float((penalty * s.cross_entropy - s.target).min()) for s in (seen.scores, chance)]
        assert losses[0] < losses[1] - 0.5
    assert bool(torch.isin(seen.prompts, ALLOWED).all())
    torch.testing.assert_close(seen.scores, objective.score(seen.prompts))


def test_it_collapses_at_restarts_alone_and_is_the_same_by_seed():
    objective = Linear()
    seen = epo(objective, ALLOWED, SEARCH, seed=3)
    same = [len(prompts.unique(dim=0)) == 1 for prompts in objective.asked]
    assert [i for i, alike in enumerate(same) if alike and i in (20, 40)] == [20, 40]
    assert not same[0]
    again, other = (epo(Linear(), ALLOWED, SEARCH, seed) for seed in (3, 4))
    assert torch.equal(seen.prompts, again.prompts)
    assert not torch.equal(seen.prompts, other.prompts)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 50))
def test_no_place_becomes_worse_but_at_a_restart(seed: int):
    objective = Linear(seed)
    config = SEARCH.model_copy(update={"restart_every": 0, "iterations": 15})
    epo(objective, ALLOWED, config, seed)
    penalties = torch.logspace(-1, 1, 4)
    losses = [penalties * (s := objective.score(p)).cross_entropy - s.target for p in objective.asked]
    assert all(bool((after <= before + 1e-4).all()) for before, after in pairwise(losses))


def test_what_is_not_finite_is_said():
    objective = Linear()
    objective.value[2, 5] = torch.nan
    with pytest.raises(UserError, match="not finite"):
        epo(objective, ALLOWED, SEARCH)


@pytest.mark.parametrize("wrong", [{"least_penalty": 20}, {"restart_penalties": (3, 1)}, {"tokens": 1}, {"rounds": 3}])
def test_settings_that_make_no_sense(wrong: dict):
    with pytest.raises(ValueError, match=r"penalt|tokens|rounds"):
        DreamConfig(**wrong)
