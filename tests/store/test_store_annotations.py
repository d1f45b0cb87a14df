"""Labels, notes and explanations: what is written is read, by anybody, whatever happens to indexes and versions."""

import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import duckdb
import pytest
import synthetic
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store import Annotations, Catalog, Explanation, FeatureStore, StoreError, indexes_folder
from store import migrations as migrations_module
from store.mirror import TABLES

A, B = "demo.a", "demo.b"
THEN = datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=UTC)
ONE = Explanation(A, "heldout", 3, "n2g", "1", "' def' …", 0.5, "detection", "scoring", THEN, {"f1": 0.4})


def test_a_feature_has_one_label_the_last(tmp_path: Path):
    kept = Annotations(tmp_path)
    before = datetime.now(UTC)
    for sae, feature, text, author in [
        (A, 3, "old", "x"),
        (A, 1, " naïve\t🙂 ", "x"),
        (B, 3, "b", "y"),
        (A, 3, "new", "y"),
    ]:
        kept.set_label(sae, feature, text, author)
    labels = kept.labels(A)
    assert [(f, label.text, label.author) for f, label in labels.items()] == [(1, "naïve\t🙂", "x"), (3, "new", "y")]
    assert all(before <= label.made_at <= datetime.now(UTC) for label in labels.values())
    kept.remove_label(A, 3)
    kept.remove_label(A, 77)
    assert list(kept.labels(A)) == [1]
    assert list(kept.labels(B)) == [3]


def test_notes_add_up_and_may_be_on_the_sae(tmp_path: Path):
    kept = Annotations(tmp_path)
    for sae, feature, text in [
        (A, 3, "first\nsecond line"),
        (A, None, "whole"),
        (A, 3, "again"),
        (A, 3, "again"),
        (B, 3, "b"),
    ]:
        kept.add_note(sae, feature, text, "x")
    assert [note.text for note in kept.notes(A, 3)] == ["first\nsecond line", "again", "again"]
    assert [note.feature for note in kept.notes(A)] == [3, None, 3, 3]
    kept.remove_note(kept.notes(A)[1])
    kept.remove_note(kept.notes(A, 3)[0])
    assert [note.text for note in kept.notes(A)] == ["again", "again"]
    assert [note.text for note in kept.notes(B)] == ["b"]


def test_explanations_replace_those_alike(tmp_path: Path):
    kept = Annotations(tmp_path)
    unscored = Explanation(A, "heldout", 3, "n2g", "1", "unscored", made_at=THEN)
    others = [
        replace(ONE, version="2", score=0.9),
        replace(ONE, corpus="other"),
        replace(ONE, feature=0, score=-1.0),
        replace(ONE, scorer="fuzzing", score=None),
        replace(ONE, sae=B),
    ]
    kept.add_explanations([ONE, unscored, *others])
    kept.add_explanations([replace(ONE, text="twice in one call"), ONE, unscored])
    kept.add_explanations([])
    assert kept.explanations(A, 3, "heldout") == [others[0], ONE, others[3], unscored]
    assert kept.explanations(A, 3) == [others[0], ONE, others[1], others[3], unscored]
    assert kept.explanations(A) == [others[2], *kept.explanations(A, 3)]
    assert kept.explanations(B) == [others[4]]
    kept.add_explanations([replace(unscored, text="better", made_at=None)])
    (new,) = [e for e in kept.explanations(A, 3, "heldout") if e.scorer is None]
    assert new.text == "better"
    assert datetime.now(UTC) - new.made_at < timedelta(minutes=1)


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.builds(
            Explanation,
            sae=st.sampled_from([A, B]),
            corpus=st.sampled_from(["c", "d"]),
            feature=st.integers(0, 2) | st.just(2**31 - 1),
            method=st.sampled_from(["m", "n"]),
            version=st.just("1"),
            text=st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda t: t.strip()).map(str.strip),
            score=st.none() | st.floats(allow_nan=False, allow_infinity=False),
            scorer=st.none() | st.sampled_from(["", "s"]),
            split=st.none() | st.text(st.characters(codec="utf-8")),
            made_at=st.datetimes(datetime(1, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC)),
            info=st.dictionaries(st.text(st.characters(codec="utf-8")), st.none() | st.booleans() | st.integers()),
        ),
        max_size=12,
    )
)
def test_any_explanations_come_back_as_they_were(tmp_path: Path, rows: list[Explanation]):
    kept = Annotations(tmp_path)
    with duckdb.connect(str(Catalog(tmp_path).path)) as connection:
        connection.execute("DELETE FROM explanation")
    expected: dict[tuple[object, ...], Explanation] = {}
    for some in (rows[::2], rows[1::2]):
        expected |= {(e.sae, e.corpus, e.feature, e.method, e.version, e.scorer): e for e in some}
        kept.add_explanations(some)
    for sae in (A, B):
        found = kept.explanations(sae)
        assert len(found) == len([e for e in expected.values() if e.sae == sae])
        assert all(expected[e.sae, e.corpus, e.feature, e.method, e.version, e.scorer] == e for e in found)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: a.set_label(A, 1, "  ", "x"), "a label cannot be empty"),
        (lambda a: a.set_label(A, 1, "a\nb", "x"), "a label is one line"),
        (lambda a: a.set_label(A, -1, "a", "x"), "cannot be a feature's number"),
        (lambda a: a.set_label("../a", 1, "a", "x"), "cannot be an id"),
        (lambda a: a.set_label(A, 1, "\ud800", "x"), "not valid Unicode"),
        (lambda a: a.add_note(A, None, "", "x"), "a note cannot be empty"),
        (lambda a: a.add_note(A, 2**31, "a", "x"), "cannot be a feature's number"),
        (
            lambda a: a.add_explanations([ONE, replace(ONE, score=float("nan"))]),
            "feature 3 of demo.a by n2g: the score",
        ),
        (lambda a: a.add_explanations([ONE, replace(ONE, info={"x": object()})]), "info must be JSON"),
        (lambda a: a.add_explanations([ONE, replace(ONE, info={"x": float("inf")})]), "info must be JSON"),
        (lambda a: a.add_explanations([ONE, replace(ONE, text="")]), "its text cannot be empty"),
    ],
)
def test_bad_rows_are_one_line_and_nothing_is_written(tmp_path: Path, call: Callable, message: str):
    kept = Annotations(tmp_path)
    with pytest.raises(StoreError, match=message) as raised:
        call(kept)
    assert "\n" not in str(raised.value)
    assert not kept.labels(A)
    assert not kept.notes(A)
    assert not kept.explanations(A)


def test_times_of_any_zone_are_the_same_times(tmp_path: Path):
    kept = Annotations(tmp_path)
    kept.add_explanations([replace(ONE, made_at=THEN.astimezone(timezone(timedelta(hours=5.5))))])
    assert kept.explanations(A) == [ONE]


def test_they_survive_rebuilding_an_index(tmp_path: Path, workspace: Path):
    shutil.copytree(workspace, tmp_path, dirs_exist_ok=True)
    (first,) = indexes_folder(tmp_path).glob("*.duckdb")
    kept = Annotations(tmp_path)
    kept.set_label(synthetic.SAE, 5, "mine", "x")
    kept.add_note(synthetic.SAE, 5, "look at the docstrings", "x")
    kept.add_explanations([replace(ONE, sae=synthetic.SAE, corpus=synthetic.CORPUS)])
    before = (kept.labels(synthetic.SAE), kept.notes(synthetic.SAE), kept.explanations(synthetic.SAE))
    first.unlink()
    second = synthetic.build(tmp_path, seed=1)
    assert second != first
    assert list(indexes_folder(tmp_path).glob("*.duckdb")) == [second]
    with FeatureStore.open(tmp_path) as store:
        assert store.features(synthetic.SAE).count() == 300
    assert before == (kept.labels(synthetic.SAE), kept.notes(synthetic.SAE), kept.explanations(synthetic.SAE))


WRITE = """
import sys
from store import Annotations, Explanation
name = sys.argv[2]
for i in range(int(sys.argv[3])):
    kept = Annotations(sys.argv[1])
    kept.set_label("s", 0, f"{name} {i}", name)
    kept.add_note("s", None, f"{name} {i}", name)
    kept.add_explanations([Explanation("s", "c", f, "m", name, f"{i}") for f in range(50)])
    print(i, flush=True)
"""


def test_processes_write_side_by_side(tmp_path: Path, python: Callable):
    writers = [python(WRITE, tmp_path, name, 4) for name in "abc"]
    for writer in writers:
        _, errors = writer.communicate()
        assert writer.returncode == 0, errors
    kept = Annotations(tmp_path)
    assert sorted(note.text for note in kept.notes("s")) == sorted(f"{name} {i}" for name in "abc" for i in range(4))
    assert kept.labels("s")[0].text.endswith(" 3")
    found = kept.explanations("s")
    assert len(found) == 150
    assert {e.text for e in found} == {"3"}


def test_a_kill_leaves_all_rows_of_a_call_or_none(tmp_path: Path, python: Callable):
    writer = python(WRITE, tmp_path, "k", 10_000)
    reported = [int(writer.stdout.readline()) for _ in range(3)][-1]
    writer.send_signal(signal.SIGKILL)
    reported = max([reported, *map(int, writer.communicate()[0].split())])
    found = Annotations(tmp_path).explanations("s")
    assert len(found) == 50
    (last,) = {int(e.text) for e in found}
    assert reported <= last <= reported + 1


def older(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue as the first version wrote it, with an entry."""
    with monkeypatch.context() as patch:
        patch.setattr(migrations_module, "migrations", lambda kind, all=migrations_module.migrations: {1: all(kind)[1]})
        catalog = Catalog(workspace)
        catalog.put("sae", A, {"n": 1})
    return catalog.path


def versions(path: Path) -> tuple[list[int], set[str]]:
    with duckdb.connect(str(path)) as connection:
        numbers = [row[0] for row in connection.execute("SELECT version FROM schema_version ORDER BY 1").fetchall()]
        return numbers, {row[0] for row in connection.execute("SHOW TABLES").fetchall()}


def test_an_older_catalogue_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = older(tmp_path, monkeypatch)
    assert versions(path) == ([1], {"entry", "schema_version"})
    Annotations(tmp_path).set_label(A, 1, "works", "x")
    assert versions(path) == ([1, 2, 3], {"entry", "schema_version", *TABLES})
    assert Catalog(tmp_path).get("sae", A) == {"id": A, "n": 1}


def test_an_upgrade_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = older(tmp_path, monkeypatch)
    with monkeypatch.context() as patch:
        broken = {
            **migrations_module.migrations("catalog"),
            4: "CREATE TABLE fourth (i INTEGER); SELECT no_such_thing;",
        }
        patch.setattr(migrations_module, "migrations", lambda kind: broken)
        with pytest.raises(StoreError, match="no_such_thing"):
            Annotations(tmp_path)
    assert versions(path) == ([1], {"entry", "schema_version"})
    assert Catalog(tmp_path).get("sae", A)["n"] == 1


def test_a_newer_catalogue_is_refused(tmp_path: Path):
    path = Catalog(tmp_path).path
    with duckdb.connect(str(path)) as connection:
        connection.execute("INSERT INTO schema_version VALUES (4)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"newer version \(schema 4, this one reads up to 3\); update saebench"):
        Annotations(tmp_path)
    assert path.read_bytes() == before


def test_info_is_json_in_the_table(tmp_path: Path):
    Annotations(tmp_path).add_explanations([ONE])
    with duckdb.connect(str(Catalog(tmp_path).path)) as connection:
        (row,) = connection.execute("SELECT info, info->>'f1' FROM explanation").fetchall()
    assert (json.loads(row[0]), row[1]) == ({"f1": 0.4}, "0.4")
