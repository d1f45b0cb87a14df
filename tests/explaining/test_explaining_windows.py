"""Examples drawn from an index, checked one by one against its text and codes."""

import numpy as np
import pytest

from saebench.explaining import ExplainConfig, Source
from saebench.explaining.windows import BANDS, SHOWN_ACTIVE, Windows


@pytest.fixture(scope="module")
def source(index):
    return Source(index, ExplainConfig(window=12, examples=10, positives=20, negatives=16))


FEATURES = [1, 2, 3, 7, 20, 100, 250]


@pytest.fixture(scope="module")
def examples(source):
    return list(source.examples(FEATURES))


def dense(half, side):
    values = np.zeros(len(half.tokens), np.float32)
    values[side.slots] = side.values
    return values


def places(half, values, vocabulary):
    """Every window of the text that could be shown: its pieces' bytes and activations."""
    found = {}
    for slot in np.flatnonzero(half.ordinary):
        first, stop = (int(edge[0]) for edge in half.around(np.array([slot]), 12, 0.75))
        inside = [s for s in range(first, stop) if half.ordinary[s]]
        key = b"".join(vocabulary[half.tokens[s]] for s in inside)
        found.setdefault(key, []).append(tuple(values[inside].tolist()))
    return found


def test_windows_stay_in_their_segment(source):
    half = source.halves.scoring
    for slot in np.flatnonzero(half.ordinary)[::7]:
        first, stop = (int(edge[0]) for edge in half.around(np.array([slot]), 12, 0.75))
        assert first <= slot < stop
        assert stop - first <= 12
        begin, end = slot, slot
        while half.tokens[begin - 1] != half.start:
            begin -= 1
        while end < len(half.tokens) and half.tokens[end] not in (half.start, half.void):
            end += 1
        assert first >= begin
        assert stop - first == min(12, stop - begin) or first == begin


@pytest.mark.parametrize("number", range(len(FEATURES)))
def test_every_example_is_what_it_is_said_to_be(source, examples, index, number):
    shown = examples[number]
    [found] = source.activations([shown.feature])
    maximum = max(found.explaining.values[0], found.scoring.values[0])
    for half, side, groups in (
        (source.halves.explaining, found.explaining, [(shown.explaining, True)]),
        (source.halves.scoring, found.scoring, [(shown.positives, True), (shown.negatives, False)]),
    ):
        there = places(half, dense(half, side), index.vocabulary)
        for windows, active in groups:
            assert windows
            assert len({window.text for window in windows}) == len(windows)
            for window in windows:
                if "⟨0x" not in window.plain:  # half a character at an edge
                    assert window.activations in there[window.plain.encode()]
                assert any(window.activations) == active
                peak = max(window.activations)
                marks = tuple(a > 0 and (a >= SHOWN_ACTIVE * maximum or a == peak) for a in window.activations)
                assert window.marked == marks
    silent = sum(not any(values) for found in there.values() for values in found)
    assert len(shown.negatives) == 16 or silent < 100
    for window, wrong in zip(shown.positives, shown.mismarked, strict=False):
        if len(shown.mismarked) == len(shown.positives):
            assert (wrong.text, sum(wrong.marked)) == (window.text, sum(window.marked))
        assert not any(m and a for m, a in zip(wrong.marked, wrong.activations, strict=True))


def test_the_strongest_come_first(examples):
    for shown in examples:
        peaks = [max(window.activations) for window in shown.explaining]
        assert peaks == sorted(peaks, reverse=True)


def test_positives_cover_all_ranks(source):
    [found] = source.activations([1])
    windows = Windows(source.halves.scoring, found.scoring, 12, source.index.vocabulary, 1.0)
    peaks = {float(v) for v in dense(source.halves.scoring, found.scoring)[windows.peaks()]}
    ordered = sorted(peaks, reverse=True)
    drawn = sorted((max(w.activations) for w in windows.by_rank(BANDS * 2, np.random.default_rng(0))), reverse=True)
    for band in np.array_split(np.array(ordered), BANDS):
        assert any(band[-1] <= value <= band[0] for value in drawn)


def test_the_same_examples_in_every_run(source, examples, index):
    assert list(Source(index, source.config).examples(FEATURES)) == examples
    assert next(Source(index, source.config).examples([7])) == examples[FEATURES.index(7)]
    other = Source(index, source.config.model_copy(update={"seed": 1}))
    assert next(other.examples([7])) != examples[FEATURES.index(7)]


def test_hard_negatives_stand_where_near_features_are_strong(source, index):
    shown = next(source.examples([100]))
    strong = set()
    half = source.halves.scoring
    for other in source.activations(sorted(source._near(100))):
        for slot in other.scoring.slots[: max(1, len(other.scoring.slots) // 5)]:
            first, stop = (int(edge[0]) for edge in half.around(np.array([slot]), 12, 0.75))
            strong.add(b"".join(index.vocabulary[t] for t in half.tokens[first:stop][half.ordinary[first:stop]]))
    hard = [window for window in shown.negatives[:8] if window.plain.encode() in strong]
    assert len(hard) == 8
