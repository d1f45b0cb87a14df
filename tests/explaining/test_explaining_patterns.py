"""Patterns against plain loops."""

from hypothesis import given, settings
from hypothesis import strategies as st
from plain import half_of, matches

from saebench.explaining.patterns import Trie, describe, merge, visible, written

VOCABULARY = [b"a", b" b", b"\n", b"|", b"c\t", b"\xe2"]
N = len(VOCABULARY)
segments = st.lists(st.lists(st.integers(0, N - 1), min_size=1, max_size=12), min_size=1, max_size=5)
tests = st.none() | st.lists(st.integers(0, N), min_size=1, max_size=3, unique=True).map(tuple)
patterns = st.lists(tests, min_size=1, max_size=5).map(tuple).filter(lambda pattern: pattern[-1] is not None)


@settings(max_examples=100, deadline=None)
@given(segments, st.lists(patterns, max_size=6))
def test_a_trie_matches_what_its_patterns_match(segments, patterns):
    half = half_of(segments, N)
    expected = sorted(set().union(*(matches(half, pattern) for pattern in patterns)))
    assert Trie.of(patterns).match(half).tolist() == expected


@settings(max_examples=100, deadline=None)
@given(segments, st.lists(patterns, max_size=8))
def test_merging_changes_no_match(segments, patterns):
    half = half_of(segments, N)
    merged = merge(patterns)
    assert len(merged) <= len(patterns)
    assert Trie.of(merged).match(half).tolist() == Trie.of(patterns).match(half).tolist()


def test_merging_joins_alternatives():
    assert merge([((0,), (3,)), ((1,), (3,)), ((2,),), ((1,), (4,)), ((0,), (4,))]) == [((0, 1), (3, 4)), ((2,),)]
    assert merge([((0,), None, (1,)), ((0,), (2,), (3,))]) == [((0,), None, (1,)), ((0,), (2,), (3,))]
    assert merge([((0,), (2,), (1,)), ((0,), None, (1,))]) == [((0,), None, (1,))]  # the narrower says nothing more
    assert merge([]) == []


def test_how_patterns_are_written():
    assert written(((1,), (0,)), VOCABULARY) == "a«␣b»"
    assert written(((0, 3), None, (2, 1)), VOCABULARY) == "⟨⏎|␣b⟩▢«a|\\|»"
    assert written((None, (N,)), VOCABULARY) == "⊢«▢»"
    assert visible(b"c\t") == "c⇥"
    assert visible(b"\n       ") == "⏎␣×7"
    assert visible(b"\n   ") == "⏎␣␣␣"
    assert written(((0,), None, None, None, (3,)), VOCABULARY) == "\\|▢×3«a»"
    assert written((None, None, None, (0,), None, (3,)), VOCABULARY) == "\\|▢a▢▢«▢»"
    assert visible(b"\xe2\x80\x8b") == "⟨0x200B⟩"
    assert describe([((i,),) for i in range(6)] * 2 + [((0,), (i,)) for i in range(2)], VOCABULARY).endswith(
        " (and 2 more)"
    )
    gaps = [((0,), *[None] * n, (1, 2)) for n in (3, 1, 2)]
    assert describe(gaps, VOCABULARY) == "⟨␣b|⏎⟩▢×1–3«a»"
    assert describe([*gaps, ((0,), *[None] * 6, (2, 1))], VOCABULARY) == "⟨␣b|⏎⟩▢×1,2,3,6«a»"
    assert describe([((0,), None, (1,)), ((0,), (1,))], VOCABULARY) == "␣b▢«a» or ␣b«a»"
    assert describe([((0,), None, (1,), None, (3,)), ((0,), None, (1,))], VOCABULARY) == "\\|▢␣b▢«a» or ␣b▢«a»"
    assert written((tuple(range(10)),), [bytes([97 + i]) for i in range(10)]) == "«a|b|c|d|e|f|g|h|+2»"
