"""Labels, notes and explanations through a reader: as columns, as relations, in SQL; never stale, never in the way."""

import getpass
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from synthetic import CORPUS, SAE

from store import Annotations, Explanation, FeatureStore, Remarks, Said, StoreError, indexes_folder


@pytest.fixture
def copied(workspace: Path, tmp_path: Path) -> Path:
    shutil.copytree(workspace, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_a_label_is_the_last_column_of_features(copied: Path):
    with FeatureStore.open(copied) as store:
        plain = store.features(SAE)
        assert plain.columns[-1] == "label"
        assert plain.filter("label IS NULL").count() == 300
        store.label(SAE, 7, "blanks")
        store.label(None, 9, 'it\'s "quoted"', "someone")
        Annotations(copied).set_label("another.sae", 8, "not this one's", "x")
        rows = store.features(SAE).filter("label IS NOT NULL").order("feature").rows()
        assert [(row["feature"], row["label"]) for row in rows] == [(7, "blanks"), (9, 'it\'s "quoted"')]
        everything = store.features(SAE).df()
        assert everything.feature.tolist() == list(range(300))
        assert everything.drop(columns="label").equals(plain.df().drop(columns="label"))
        assert store.features(SAE).filter("label LIKE '%lank%' AND density > 0").select("feature").rows() == [
            {"feature": 7}
        ]
        store.label(SAE, 7, "white space")
        assert store.features(SAE).filter("feature = 7").rows()[0]["label"] == "white space"
        assert store.labels(SAE).df().author.tolist() == [getpass.getuser(), "someone"]
        assert store.labels().count() == 3


def test_notes_and_explanations_are_relations(copied: Path):
    with FeatureStore.open(copied) as store:
        assert store.notes().count() == store.explanations().count() == 0
        store.note(SAE, None, "trained twice", "x")
        store.note(SAE, 3, "look", "x")
        Annotations(copied).add_explanations(
            [
                Explanation(SAE, CORPUS, f, "m", str(v), f"{f}v{v}", s)
                for f, v, s in [(4, 1, 0.2), (4, 2, 0.9), (2, 1, None)]
            ]
        )
        assert [(n["feature"], n["note"]) for n in store.notes(SAE).rows()] == [(None, "trained twice"), (3, "look")]
        assert [e["text"] for e in store.explanations(SAE).rows()] == ["2v1", "4v2", "4v1"]
        assert store.explanations(SAE).filter("score > .5").select("feature", "score").rows() == [
            {"feature": 4, "score": 0.9}
        ]
        query = """SELECT feature, n_active, text FROM feature JOIN memory.explanation USING (feature)
                   WHERE score = .9 AND sae = '{}'"""
        (row,) = store.sql(query.format(SAE)).rows()
        assert (row["feature"], row["text"]) == (4, "4v2")
        assert row["n_active"] == store.feature(SAE, 4).stats.n_active


def test_lists_are_relations(copied: Path):
    with FeatureStore.open(copied) as store:
        assert store.lists().count() == store.listed().count() == 0
        for name, feature in [("b", 9), ("a", 3), ("b", 2), ("b", 9)]:
            store.add_to_list(name, SAE, feature, "x")
        Annotations(copied).describe_list("c", "none yet", "x")
        assert [(row["list"], row["n_features"]) for row in store.lists().rows()] == [("a", 1), ("b", 2), ("c", 0)]
        assert store.listed("b").select("feature").rows() == [{"feature": 9}, {"feature": 2}]
        assert [row["list"] for row in store.listed().rows()] == ["a", "b", "b"]
        assert store.listed("b").columns == store.listed().columns
        assert store.feature(SAE, 9).lists() == ["b"]
        query = "SELECT feature, n_active FROM memory.listed JOIN feature USING (feature) WHERE list = 'a'"
        assert store.sql(query).rows() == [{"feature": 3, "n_active": store.feature(SAE, 3).stats.n_active}]
        with pytest.raises(StoreError, match="has no feature 300"):
            store.add_to_list("a", SAE, 300)


def test_an_sae_on_two_corpora_has_one_set_of_labels(copied: Path):
    (file,) = indexes_folder(copied).glob("*.duckdb")
    shutil.copy(file, file.with_name(file.name.replace(CORPUS, "other-corpus")))
    with FeatureStore.open(copied) as store:
        store.label(SAE, 7, "blanks")
        store.note(None, 7, "blanks it is")
        for corpus in (CORPUS, "other-corpus"):
            assert store.features(SAE, corpus).filter("label = 'blanks'").count() == 1


def test_what_is_not_there_cannot_be_labelled(copied: Path):
    with FeatureStore.open(copied) as store:
        for call, message in [
            (lambda: store.label(SAE, 300, "x"), "has no feature 300; it has 0 to 299"),
            (lambda: store.label("nope", 3, "x"), "no index of 'nope'"),
            (lambda: store.note("nope", None, "x"), "no index of 'nope'"),
            (lambda: store.label(SAE, 3, " "), "cannot be empty"),
        ]:
            with pytest.raises(StoreError, match=message):
                call()
        assert store.labels().count() == 0


def test_a_workspace_without_a_catalogue_has_none_and_gets_none(copied: Path):
    (copied / "catalog.duckdb").unlink()
    with FeatureStore.open(copied) as store:
        assert store.features(SAE).filter("label IS NULL").count() == 300
        assert store.labels().count() == 0
        assert store.sql("SELECT count(*) AS n FROM memory.note").rows() == [{"n": 0}]
    assert not (copied / "catalog.duckdb").exists()


def test_a_damaged_catalogue_is_one_line(copied: Path):
    (copied / "catalog.duckdb").write_bytes(b"x" * 20_000)
    with FeatureStore.open(copied) as store, pytest.raises(StoreError, match=r"catalog\.duckdb") as raised:
        store.features(SAE)
    assert "\n" not in str(raised.value)


def test_sql_cannot_write_to_the_copies(copied: Path):
    with FeatureStore.open(copied) as store:
        store.label(SAE, 1, "one")
        for statement in ("DELETE FROM memory.label", "DROP TABLE memory.label"):
            with pytest.raises(StoreError):
                store.sql(statement).rows()
        assert store.labels().count() == 1


WRITE = """
import sys
from store import Annotations
for i in range(30):
    Annotations(sys.argv[1]).set_label(sys.argv[2], i, str(i), "x")
    print(i, flush=True)
"""


def test_readers_see_what_another_process_has_reported(copied: Path, python: Callable):
    """Threads read while a process writes: what it said it wrote is there, and nothing is ever half there."""
    with FeatureStore.open(copied, threads=1) as store, ThreadPoolExecutor(3) as pool:
        writer = python(WRITE, copied, SAE)

        def read(at_least: int) -> int:
            rows = store.features(SAE).filter("label IS NOT NULL").rows()
            assert sorted(row["label"] for row in rows) == sorted(str(i) for i in range(len(rows)))
            assert len(rows) > at_least
            return len(rows)

        for line in writer.stdout:
            assert all(pool.map(read, [int(line)] * 3))
        assert writer.wait() == 0
        assert store.labels(SAE).count() == 30


def test_a_catalogue_left_by_a_kill_is_read(copied: Path, python: Callable):
    """A process that ends without closing leaves its rows in the log beside the file."""
    code = """
import os, sys, duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("INSERT INTO label VALUES (?, 5, 'from the log', 'x', now()::TIMESTAMP)", [sys.argv[2]])
os._exit(0)
"""
    with FeatureStore.open(copied) as store:
        assert store.labels().count() == 0
        process = python(code, copied / "catalog.duckdb", SAE)
        assert process.wait() == 0, process.communicate()
        assert (copied / "catalog.duckdb.wal").exists()
        assert store.features(SAE).filter("label = 'from the log'").count() == 1
        with duckdb.connect(str(copied / "catalog.duckdb")) as connection:
            connection.execute("DELETE FROM label")
        assert store.labels().count() == 0


def test_remarks_are_what_the_catalogue_says(copied: Path):
    notes = Annotations(copied)
    with FeatureStore.open(copied) as store:
        assert store.remarks(SAE, 7) == Remarks()
        assert store.said(SAE, [7, 9]) == {}
        store.label(SAE, 7, "seven")
        store.note(SAE, 7, "first")
        store.note(SAE, 7, "second")
        store.add_to_list("kept", SAE, 7)
        plain = [
            Explanation(SAE, CORPUS, feature, "m", "1", text, score)
            for feature, text, score in [
                (7, "worse", 0.2),
                (7, "better", 0.9),
                (7, "unscored", None),
                (9, "9", None),
            ]
        ]
        notes.add_explanations(replace(one, version=str(i)) for i, one in enumerate(plain))
        found = store.remarks(SAE, 7)
        assert found.label == notes.labels(SAE)[7]
        assert found.notes == notes.notes(SAE, 7)
        assert found.explanations == notes.explanations(SAE, 7)
        assert [one.text for one in found.explanations] == ["better", "worse", "unscored"]
        assert found.lists == ["kept"]
        assert store.said(SAE, [7, 8, 9]) == {7: Said("seven", None, True), 9: Said("9", None, False)}
        notes.remove_label(SAE, 7)
        assert store.said(SAE, [7]) == {7: Said("better", 0.9, False)}
        notes.add_explanations([replace(plain[1], version="1", text="best", score=0.95)])
        assert store.said(SAE, [7])[7] == Said("best", 0.95, False)
        assert store.remarks("another.sae", 7) == Remarks()
