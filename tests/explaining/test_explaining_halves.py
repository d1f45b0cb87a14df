"""The two halves and the activations in them, against the corpus that the index was made from."""

import numpy as np
import pytest

from saebench.errors import UserError
from saebench.explaining.activations import read_activations
from saebench.explaining.halves import WINDOW, read_halves
from store.split import scoring


@pytest.fixture(scope="module", params=[0, 3])
def halves(index, request):
    return read_halves(index, 10**9, request.param)


def plain_segments(data, seed):
    """(scoring?, [(place, token)]) of every segment, by loops."""
    sides = scoring([document[2] for document in data.documents], seed)
    for number in range(data.n_contexts):
        block = data.block(number, number + 1)
        length = block.tokens.shape[1]
        runs = block.segments[0]
        for (begin, document, _), end in zip(runs, [*(run[0] for run in runs[1:]), length], strict=True):
            places = [(number * length + p, int(block.tokens[0, p])) for p in range(begin, end)
                      if not block.special[0, p]]  # fmt: skip
            yield bool(sides[document]), places


def test_each_half_is_its_documents_text(data, halves, index):
    texts = {False: [], True: []}
    for side, places in plain_segments(data, halves.seed):
        texts[side].append([token for _, token in places])
    for half, side in ((halves.explaining, False), (halves.scoring, True)):
        assert half.tokens[half.ordinary].tolist() == [token for text in texts[side] for token in text]
        assert half.n_tokens == sum(map(len, texts[side]))
        firsts = np.flatnonzero(half.tokens == half.start) + 1
        assert half.tokens[firsts].tolist() == [text[0] for text in texts[side]]
        for first in firsts:  # a look back from the first token sees nothing of another segment
            assert (half.tokens[first - WINDOW + 1 : first - 1] == half.void).all()


def test_after(halves):
    half = halves.explaining
    for token in (5, 50, half.start):
        for offset in (0, 1, 7):
            expected = [
                s for s in range(offset, len(half.tokens)) if half.ordinary[s] and half.tokens[s - offset] == token
            ]
            assert half.after(token, offset).tolist() == expected


def test_activations_are_those_of_the_index(data, halves, index):
    places, features, values = data.codes
    slot_of, side_of = {}, {}
    for half, side in ((halves.explaining, False), (halves.scoring, True)):
        slots = iter(np.flatnonzero(half.ordinary).tolist())
        for own, run in plain_segments(data, halves.seed):
            if own == side:
                for place, _ in run:
                    slot_of[place], side_of[place] = next(slots), side
    wanted = [0, 1, 2, 7, 13, 40, 299]
    found = {a.feature: a for a in read_activations(index, halves, wanted)}
    assert list(found) == wanted
    for feature in wanted:
        for got, side in ((found[feature].explaining, False), (found[feature].scoring, True)):
            mine = [(p, np.float32(np.float16(v))) for p, f, v in zip(places, features, values, strict=True)
                    if f == feature and side_of[p] == side]  # fmt: skip
            mine.sort(key=lambda pair: (-pair[1], pair[0]))
            assert got.slots.tolist() == [slot_of[place] for place, _ in mine]
            assert got.values.tolist() == [value for _, value in mine]
            if mine:
                middle = float(mine[len(mine) // 2][1])
                assert len(got.above(middle)) == sum(value >= middle for _, value in mine)


def test_a_sample_is_whole_contexts_and_always_the_same(index):
    some, again, other = (read_halves(index, 64 * 40, seed) for seed in (0, 0, 1))
    assert some.n_contexts == 40
    assert some.explaining.n_tokens + some.scoring.n_tokens <= 64 * 40
    assert np.array_equal(some.explaining.tokens, again.explaining.tokens)
    assert not np.array_equal(some.explaining.tokens[:500], other.explaining.tokens[:500])
    inside = next(read_activations(index, some, [7]))
    assert (
        0
        < len(inside.explaining.slots)
        < len(next(read_activations(index, read_halves(index, 10**9, 0), [7])).explaining.slots)
    )


def test_a_corpus_that_cannot_be_split(index):
    documents = index.rows(f"SELECT sha256 FROM {index.table('document')} ORDER BY document")
    seed = next(s for s in range(10_000) if len(set(scoring([documents[d][0] for d in _two(index, s)], s))) == 1)
    with pytest.raises(UserError, match="too few documents"):
        read_halves(index, 1, seed)


def _two(index, seed):
    drawn = np.random.default_rng(seed).permutation(index.meta["n_contexts"])[:2]
    sql = f"SELECT DISTINCT document FROM {index.table('segment')} WHERE context IN (?, ?)"
    return [row[0] for row in index.rows(sql, int(drawn[0]), int(drawn[1]))]
