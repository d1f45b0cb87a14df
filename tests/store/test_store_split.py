"""Explaining and scoring never share a document."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store import FeatureStore, StoreError
from store.split import scoring, segments

M = 2**64 - 1
PINNED = ("sseeseseeesesses", "sssesssssseeeess")


def splitmix64(x: int) -> int:
    """The generator's own definition, in Python's integers."""
    x = (x + 0x9E3779B97F4A7C15) & M
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & M
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & M
    return x ^ (x >> 31)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@settings(deadline=None)
@given(st.lists(st.text(max_size=5), max_size=30), st.integers(0, M))
def test_the_definition(texts, seed):
    hashes = [sha(text) for text in texts]
    expected = [splitmix64(int(h[:16], 16) ^ splitmix64(seed)) % 2 == 1 for h in hashes]
    assert scoring(hashes, seed).tolist() == expected


def test_the_split_never_changes():
    """These values may not change: stored explanations and scores rest on them."""
    hashes = [sha(str(i)) for i in range(16)]
    assert "".join("es"[int(s)] for s in scoring(hashes)) == PINNED[0]
    assert "".join("es"[int(s)] for s in scoring(hashes, 1)) == PINNED[1]


def test_about_half_scores():
    share = scoring([sha(str(i)) for i in range(20_000)]).mean()
    assert abs(share - 0.5) < 4 * 0.5 / np.sqrt(20_000)


def test_a_documents_side_depends_on_nothing_else():
    hashes = [sha(str(i % 7)) for i in range(50)]
    sides = scoring(hashes)
    assert all(scoring([h])[0] == side for h, side in zip(hashes, sides, strict=True))


@pytest.mark.parametrize("bad", ["", "12", "z" * 64])
def test_no_hash(bad):
    with pytest.raises(StoreError, match="build the index again"):
        scoring([sha("a"), bad])


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_out_of_range(seed):
    with pytest.raises(StoreError, match="out of range"):
        scoring([], seed)


@pytest.mark.parametrize("seed", [0, 5])
def test_segments_by_plain_loops(store: FeatureStore, data, seed):
    found = segments(store.index(), seed)
    sides = scoring([document[2] for document in data.documents], seed)
    expected = []
    length = store.index().context_length
    for first in range(data.n_contexts):
        [runs] = data.block(first, first + 1).segments
        for (start, document, _), after in zip(runs, [*runs[1:], (length, -1, 0)], strict=True):
            expected.append((first, start, after[0], document, bool(sides[document])))
    columns = (found.context, found.start, found.stop, found.document, found.scoring)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == expected
    explained, scored = set(found.document[~found.scoring].tolist()), set(found.document[found.scoring].tolist())
    assert explained
    assert scored
    assert not explained & scored
