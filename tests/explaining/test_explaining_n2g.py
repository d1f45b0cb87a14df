"""Patterns learnt from planted rules, and counts against plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain import half_of, matches

from saebench.explaining import n2g
from saebench.explaining.n2g import Count, count, learn, patterns_of

N = 40


def random_half(seed, n_segments=60, length=100):
    rng = np.random.default_rng(seed)
    return half_of(rng.integers(0, N, (n_segments, length)).tolist(), N)


PLANTED = {
    "one token": [((3,),)],
    "one of several": [((3, 9, 11),)],
    "after a token": [((3,), (8,))],
    "any token after two": [(None, (8,), (3,))],
    "with a gap": [((3,), None, None, (8,))],
    "at the start": [(None, (N,))],
    "two rules": [((5,), (6,)), ((7,), None, (1,))],
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_patterns_are_found(name):
    half = random_half(1)
    strong = sorted(set().union(*(matches(half, pattern) for pattern in PLANTED[name])))
    order = np.random.default_rng(2).permutation(len(strong))
    rules = learn(half, np.array(strong)[order])
    found = {tuple(test and tuple(sorted(test)) for test in pattern) for pattern in patterns_of(rules)}
    assert found == set(PLANTED[name])
    held_out = random_half(3)
    truth = np.array(sorted(set().union(*(matches(held_out, pattern) for pattern in PLANTED[name]))))
    assert count(held_out, patterns_of(rules), truth) == Count(len(truth), len(truth), len(truth))


def test_noise_does_not_become_patterns():
    """Every fourth strong place is anywhere: what is learnt is the rule, and it holds on other text."""
    half, rng = random_half(1), np.random.default_rng(0)
    strong = matches(half, ((3,), (8,)))
    noise = rng.choice(np.flatnonzero(half.ordinary), len(strong) // 3)
    rules = learn(half, rng.permutation(sorted(strong | set(noise.tolist()))))
    assert rules[0].pattern == ((3,), (8,))
    assert sum(rule.strong for rule in rules[1:]) <= len(noise) / 2


def test_a_feature_seen_once_has_a_pattern():
    half = random_half(1)
    [rule] = learn(half, np.flatnonzero(half.ordinary)[[500]])
    assert rule.strong == 1
    assert matches(half, rule.pattern) >= {int(np.flatnonzero(half.ordinary)[500])}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(2, 6))
def test_what_is_said_of_a_rule_is_true(seed, n_strong, n_tokens):
    """Counts of every rule, over what the rules before it left, by plain loops."""
    rng = np.random.default_rng(seed)
    half = half_of([rng.integers(0, n_tokens, rng.integers(1, 30)).tolist() for _ in range(6)], n_tokens)
    places = np.flatnonzero(half.ordinary)
    strong = rng.permutation(places)[:n_strong]
    rules = learn(half, strong)
    assert rules
    counts = set()
    for rule in rules:
        found = matches(half, rule.pattern)
        assert rule.strong <= len(found & set(strong.tolist()))
        assert 0 < rule.strong <= rule.matched <= len(found)
        counts.add(rule.matched)
    covered = set().union(*(matches(half, rule.pattern) for rule in rules))
    accepted = [rule for rule in rules if rule.accepted and rule.strong > 1]
    if accepted:  # what each matched was taken out before the next: together they match what they say
        assert sum(rule.matched for rule in rules) == len(covered)
        assert sum(rule.strong for rule in rules) == len(covered & set(strong.tolist()))
    total = count(half, patterns_of(rules), strong)
    assert total == Count(len(covered & set(strong.tolist())), len(covered), len(strong))
    assert len(rules) <= n2g.MAX_RULES


def test_scores():
    assert (Count(3, 4, 6).precision, Count(3, 4, 6).recall, Count(3, 4, 6).f1) == (0.75, 0.5, 0.6)
    assert (Count(0, 0, 5).precision, Count(0, 0, 5).f1) == (None, 0.0)
    assert (Count(0, 3, 0).recall, Count(0, 3, 0).f1) == (None, None)
