"""Named lists of features: each feature once, in the order of adding, of any SAE; against a dict of lists."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store import Annotations, FeatureList, StoreError

A, B = "demo.a", "demo.b"


def features(kept: Annotations, name: str) -> list[tuple[str, int]]:
    return [(one.sae, one.feature) for one in kept.listed(name)]


def test_a_list_holds_each_feature_once_in_the_order_of_adding(tmp_path: Path):
    kept = Annotations(tmp_path)
    before = datetime.now(UTC)
    for sae, feature in [(A, 9), (B, 9), (A, 2), (A, 9)]:
        kept.add_to_list("blanks", sae, feature, "x")
    kept.add_to_list(" to look at ", A, 2, "y")
    assert features(kept, "blanks") == [(A, 9), (B, 9), (A, 2)]
    assert all(before <= one.made_at <= datetime.now(UTC) for one in kept.listed("blanks"))
    assert kept.lists_of(A, 2) == ["blanks", "to look at"]
    assert kept.lists_of(B, 2) == []
    kept.remove_from_list("blanks", A, 9)
    kept.remove_from_list("blanks", A, 77)
    kept.add_to_list("blanks", A, 9, "x")
    assert features(kept, "blanks") == [(B, 9), (A, 2), (A, 9)]
    assert [(one.name, one.author, one.n_features) for one in kept.lists()] == [
        ("blanks", "x", 3),
        ("to look at", "y", 1),
    ]


def test_a_list_can_be_described_emptied_and_removed(tmp_path: Path):
    kept = Annotations(tmp_path)
    kept.describe_list("négation 🙂", "not, n't\nand never", "x")
    kept.add_to_list("négation 🙂", A, 1, "y")
    kept.describe_list("négation 🙂", " never ", "y")
    (one,) = kept.lists()
    assert one == FeatureList("négation 🙂", "never", "x", one.made_at, 1)
    kept.describe_list("négation 🙂", " ", "y")
    kept.remove_from_list("négation 🙂", A, 1)
    assert [(one.description, one.n_features) for one in kept.lists()] == [("", 0)]
    kept.set_label(A, 1, "not", "x")
    kept.add_to_list("négation 🙂", A, 1, "y")
    kept.remove_list("négation 🙂")
    kept.remove_list("no such list")
    assert (kept.lists(), kept.listed("négation 🙂"), kept.lists_of(A, 1)) == ([], [], [])
    assert kept.labels(A)[1].text == "not"


STEPS = st.tuples(
    st.sampled_from(["add", "remove", "drop", "describe"]),
    st.sampled_from(["p", "q"]),
    st.sampled_from([A, B]),
    st.integers(0, 2),
)


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEPS, max_size=20))
def test_any_sequence_of_changes_does_what_it_does_to_a_dict(tmp_path: Path, steps: list[tuple[str, str, str, int]]):
    kept = Annotations(tmp_path)
    expected: dict[str, list[tuple[str, int]]] = {}
    for one in kept.lists():
        kept.remove_list(one.name)
    for step, name, sae, feature in steps:
        match step:
            case "add":
                kept.add_to_list(name, sae, feature, "x")
                own = expected.setdefault(name, [])
                own += [(sae, feature)] if (sae, feature) not in own else []
            case "remove":
                kept.remove_from_list(name, sae, feature)
                if (sae, feature) in expected.get(name, []):
                    expected[name].remove((sae, feature))
            case "drop":
                kept.remove_list(name)
                expected.pop(name, None)
            case "describe":
                kept.describe_list(name, "…", "x")
                expected.setdefault(name, [])
    assert {one.name: one.n_features for one in kept.lists()} == {name: len(own) for name, own in expected.items()}
    assert {name: features(kept, name) for name in expected} == expected
    for sae in (A, B):
        assert kept.lists_of(sae, 0) == sorted(name for name, own in expected.items() if (sae, 0) in own)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: a.add_to_list("  ", A, 1, "x"), "a list's name cannot be empty"),
        (lambda a: a.add_to_list("a\nb", A, 1, "x"), "one line of visible characters"),
        (lambda a: a.add_to_list("a\u202eb", A, 1, "x"), "one line of visible characters"),
        (lambda a: a.add_to_list("a" * 81, A, 1, "x"), "at most 80 characters, not 81"),
        (lambda a: a.add_to_list("a/b", A, 1, "x"), "no '/'"),
        (lambda a: a.add_to_list("..", A, 1, "x"), "no '.' in front"),
        (lambda a: a.describe_list("a.json", "…", "x"), r"no \.json or \.csv"),
        (lambda a: a.describe_list("\ud800", "…", "x"), "not valid Unicode"),
        (lambda a: a.describe_list("a", "\ud800", "x"), "not valid Unicode"),
        (lambda a: a.describe_list("a", "…", ""), "an author cannot be empty"),
        (lambda a: a.add_to_list("a", A, -1, "x"), "cannot be a feature's number"),
        (lambda a: a.add_to_list("a", "../a", 1, "x"), "cannot be an id"),
    ],
)
def test_bad_rows_are_one_line_and_nothing_is_written(tmp_path: Path, call: Callable, message: str):
    kept = Annotations(tmp_path)
    with pytest.raises(StoreError, match=message) as raised:
        call(kept)
    assert "\n" not in str(raised.value)
    assert kept.lists() == []


WRITE = """
import sys
from store import Annotations
for i in range(5):
    Annotations(sys.argv[1]).add_to_list("shared", sys.argv[2], i, sys.argv[2])
"""


def test_processes_add_side_by_side(tmp_path: Path, python: Callable):
    for writer in [python(WRITE, tmp_path, name) for name in (A, B)]:
        _, errors = writer.communicate()
        assert writer.returncode == 0, errors
    found = features(Annotations(tmp_path), "shared")
    assert sorted(found) == [(sae, i) for sae in (A, B) for i in range(5)]
    assert [i for sae, i in found if sae == A] == list(range(5))
