"""Exported files hold the relation's rows, whole or not at all."""

import csv
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from synthetic import SAE

from store import FeatureStore, StoreError


@pytest.mark.parametrize(
    "narrow",
    [
        lambda s: s.features(SAE),
        lambda s: s.features(SAE).filter("density > .01").order("mean DESC, feature").select("feature", "q").limit(7),
        lambda s: s.features(SAE).filter("density > 7"),
        lambda s: s.codes(3),
        lambda s: s.sql("SELECT token, bytes, NULL AS nothing FROM vocabulary ORDER BY token;"),
        lambda s: s.search(SAE, token="("),
        lambda s: s.sql("SELECT 'a -- b' AS text -- a remark"),
    ],
)
def test_files_hold_the_rows(store: FeatureStore, tmp_path: Path, narrow: Callable):
    relation = narrow(store)
    path = relation.to_parquet(tmp_path / "it's a file.parquet")
    assert pq.read_table(path).to_pylist() == relation.rows()
    path = relation.to_csv(str(tmp_path / "rows.csv"))
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    expected = relation.rows()
    assert header == list(expected[0]) if expected else header
    assert len(rows) == len(expected)
    for row, wanted in zip(rows, expected, strict=True):
        for text, value in zip(row, wanted.values(), strict=True):
            if isinstance(value, str):
                assert text == value
            elif isinstance(value, int | float) and not isinstance(value, bool):
                assert float(text) == pytest.approx(value, rel=1e-6)
            elif value is None:
                assert text == ""
    assert sorted(p.name for p in tmp_path.iterdir()) == ["it's a file.parquet", "rows.csv"]


def test_strange_texts_survive_csv(store: FeatureStore, tmp_path: Path):
    texts = ['a "quoted", word', "two\nlines", "", " blanks ", "naïve 日本語 🙂", "'", "=1+1", "NULL"]
    values = ", ".join("('" + text.replace("'", "''") + "')" for text in texts)
    relation = store.sql(f"SELECT * FROM (VALUES {values}) AS t(text)")
    path = relation.to_csv(tmp_path / "texts.csv")
    assert pd.read_csv(path, keep_default_na=False).text.tolist() == texts


def test_bad_paths_are_one_line_and_leave_nothing(store: FeatureStore, tmp_path: Path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    for path, message in [
        (tmp_path / "none" / "x.parquet", "there is no folder"),
        (tmp_path / "file" / "x.parquet", "there is no folder"),
        (tmp_path / "folder", "it is a folder"),
        (tmp_path / ("x" * 300), "File name too long|too long"),
    ]:
        for write in (store.features(SAE).to_parquet, store.features(SAE).to_csv):
            with pytest.raises(StoreError, match=message) as raised:
                write(path)
            assert "\n" not in str(raised.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def test_a_failing_query_leaves_the_old_file(store: FeatureStore, tmp_path: Path):
    path = tmp_path / "x.parquet"
    path.write_text("the old file")
    with pytest.raises(StoreError, match="no such luck") as raised:
        store.sql("SELECT CASE WHEN feature > 200 THEN error('no such luck') END AS x FROM feature").to_parquet(path)
    assert "\n" not in str(raised.value)
    assert path.read_text() == "the old file"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file(workspace: Path, tmp_path: Path, python: Callable):
    """A real limit on the size of files, in a process of its own."""
    code = """
import resource, signal, sys
from pathlib import Path
from store import FeatureStore, StoreError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with FeatureStore.open(sys.argv[1], threads=1) as store:
    codes = store.sql("FROM code")
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    for write in (codes.to_parquet, codes.to_csv):
        try:
            write(Path(sys.argv[2]))
        except StoreError as error:
            print(error)
"""
    path = tmp_path / "x.parquet"
    path.write_text("the old file")
    process = python(code, workspace, path)
    out, errors = process.communicate()
    assert process.returncode == 0, errors
    assert len(out.splitlines()) == 2, out
    assert all("the disk is full" in line for line in out.splitlines()), out
    assert path.read_text() == "the old file"
    assert list(tmp_path.iterdir()) == [path]
