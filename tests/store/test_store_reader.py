"""Reading an index: relations, errors, threads, other processes."""

import contextlib
import re
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import CORPUS, LENGTH, SAE, Synthetic

from store import FeatureStore, StoreError, indexes_folder
from store.text import display_pieces


@pytest.fixture
def copied(workspace: Path, tmp_path: Path) -> Path:
    """A workspace of one's own, to be damaged."""
    shutil.copytree(workspace, tmp_path, dirs_exist_ok=True)
    return tmp_path


def index_file(workspace: Path) -> Path:
    (path,) = indexes_folder(workspace).glob("*.duckdb")
    return path


def test_relations_are_lazy_narrowed_sorted_and_cut(store: FeatureStore):
    everything = store.features(SAE).df()
    relation = store.features(SAE).filter("density > 1e-3").filter("max_activation < 20").order("mean DESC, feature")
    expected = everything[(everything.density > 1e-3) & (everything.max_activation < 20)]
    expected = expected.sort_values(["mean", "feature"], ascending=[False, True])
    assert relation.count() == len(relation) == len(expected) > 20
    assert relation.limit(5).offset(2).df().feature.tolist() == expected.feature.tolist()[2:7]
    assert relation.limit(5).count() == 5
    assert len(everything) == 300


def test_every_form_holds_the_same_rows(store: FeatureStore):
    relation = store.features().filter("n_active > 5").order("feature").select("feature", "mean", "q", "top_token")
    rows, arrow, frame, polars = relation.rows(), relation.arrow(), relation.df(), relation.pl()
    assert arrow.to_pylist() == rows
    assert isinstance(frame, pd.DataFrame)
    assert frame.feature.tolist() == arrow["feature"].to_pylist()
    assert isinstance(polars, pl.DataFrame)
    assert polars.to_dicts() == rows
    assert list(rows[0]) == ["feature", "mean", "q", "top_token"]


def test_filters_reach_into_lists_and_functions(store: FeatureStore):
    features = store.features()
    promoted = features.rows()[3]["promoted"][0]
    quoted = promoted.replace("'", "''")
    assert 3 in [row["feature"] for row in features.filter(f"list_contains(promoted, '{quoted}')").rows()]
    assert features.filter("len(list_filter(q, lambda x: x > 1)) > 3").count() > 0
    assert features.filter("FEATURE IN (1, 2, 3) -- a remark").count() == 3
    assert features.filter("feature BETWEEN 10 AND 20 AND top_token LIKE '%e%'").count() <= 11


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("densty > 1e-4", "no column 'densty'; did you mean 'density'? columns: feature, n_active, density"),
        ("density > 1e-4 AND MaxActivation > 2", "no column 'MaxActivation'; did you mean 'max_activation'?"),
        ("xyz", "no column 'xyz'; columns: feature"),
        ("density >", "ends too early"),
        ("density > > 1", "syntax error"),
        (" ", "filter is empty"),
        ("1; DROP TABLE feature", "syntax error"),
        ("1) UNION SELECT (2", "not a query"),
        ("1) FROM (SELECT 2", "must be one condition"),
        ("1) LIMIT (2", "must be one condition"),
        ("density), (mean", "must be one condition"),
        ("feature IN (SELECT feature FROM example)", "may not contain a subquery"),
        ("count(*) OVER () > 1", "may not contain a window function"),
        ("no_such_function(density) > 1", "no_such_function"),
        ("density = 'dense'", "dense"),
        ("sum(density) > 1", "aggregate"),
        ("density > ?", "may not contain a parameter"),
    ],
)
def test_bad_filters_say_what_is_wrong(store: FeatureStore, condition: str, message: str):
    with pytest.raises(StoreError) as raised:
        store.features(SAE).filter(condition).rows()
    assert message.lower() in str(raised.value).lower()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "by", ["densty DESC", "density LIMIT 5", "density; DROP TABLE feature", "(SELECT 1)", "mean,,", ""]
)
def test_bad_orders_too(store: FeatureStore, by: str):
    with pytest.raises(StoreError, match="order"):
        store.features(SAE).order(by)


@settings(deadline=None)
@given(text=st.text(max_size=30))
def test_no_text_gets_past_the_filter_as_anything_but_an_error(store: FeatureStore, text: str):
    for narrow in (store.features().filter, store.features().order):
        with contextlib.suppress(StoreError):
            narrow(text).limit(1).rows()


def test_limits_are_numbers_and_come_last(store: FeatureStore):
    for bad in (-1, 2.5, "3", True):
        with pytest.raises(StoreError, match="whole number"):
            store.features().limit(bad)  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="must come before limit"):
        store.features().limit(3).filter("density > 0")


def test_what_does_not_exist_is_named_with_what_does(store: FeatureStore, tmp_path: Path):
    for call, message in [
        (lambda: store.features("nope"), f"no index of 'nope'; it has: {SAE}.{CORPUS}"),
        (lambda: store.features(SAE, "other"), "on corpus 'other'"),
        (lambda: store.feature(SAE, 300), "no feature 300; it has 0 to 299"),
        (lambda: store.feature(SAE, -1), "no feature -1"),
        (lambda: store.codes(320), "no context 320; it has 0 to 319"),
        (lambda: store.context(-1), "no context -1"),
        (lambda: store.features().select("densty"), "did you mean 'density'"),
        (lambda: store.sql("SELECT * FROM nowhere"), "nowhere"),
        (lambda: FeatureStore.open(tmp_path / "none"), "there is no workspace"),
    ]:
        with pytest.raises(StoreError, match=re.escape(message)) as raised:
            call()
        assert "\n" not in str(raised.value)
    with FeatureStore.open(tmp_path) as empty:
        assert empty.saes() == empty.indexes() == []
        with pytest.raises(StoreError, match="no finished index"):
            empty.features()


def test_several_indexes_of_one_sae(copied: Path):
    file = index_file(copied)
    shutil.copy(file, file.with_name(file.name.replace(CORPUS, "other-corpus")))
    with FeatureStore.open(copied) as store:
        with pytest.raises(StoreError, match=rf"say which with corpus=: {SAE}.other-corpus, {SAE}.{CORPUS}"):
            store.features(SAE)
        assert store.features(SAE, corpus=CORPUS).count() == 300
        (sae,) = store.saes()
        assert [index["id"] for index in sae["indexes"]] == [f"{SAE}.other-corpus", f"{SAE}.{CORPUS}"]
        assert sae["hook_point"] == "blocks.2.hook_resid_post"
        aliases = [index["alias"] for index in store.indexes()]
        joined = " JOIN ".join(f"{alias}.feature AS {letter}" for alias, letter in zip(aliases, "ab", strict=True))
        assert store.sql(f"SELECT count(*) AS n FROM {joined} USING (feature)").rows() == [{"n": 300}]
        assert store.sql("SELECT count(*) AS n FROM feature;", corpus=CORPUS).rows() == [{"n": 300}]


def test_sql_cannot_write_to_an_index(store: FeatureStore):
    before = index_file(store.workspace).read_bytes()
    for statement in ("DELETE FROM feature", "DROP TABLE feature", "CREATE TABLE t (i INT)"):
        with pytest.raises(StoreError):
            store.sql(statement).rows()
    assert index_file(store.workspace).read_bytes() == before


def test_provenance_and_reprs(store: FeatureStore, data: Synthetic):
    index = store.index(SAE)
    assert index.meta["provenance"] == data.provenance
    assert index.meta["content_hash"][:12] in index.path.name
    for thing in (store, index, store.features(), store.feature(SAE, 1), *store.feature(SAE, 1).top(1)):
        assert len(repr(thing)) > 20
    assert "seed=0" in repr(index)
    assert "<table" in store.features()._repr_html_()


def test_contexts_are_whole(store: FeatureStore, data: Synthetic):
    block = data.block(0, data.n_contexts)
    for i in (0, 1, 100, 319):
        context = store.context(i)
        pieces = [p for p, special in zip(context.pieces, context.special, strict=True) if not special]
        assert b"".join(pieces) == block.source[i]
        assert context.tokens == block.tokens[i].tolist()
        assert "".join(display_pieces(pieces)) == display_pieces([block.source[i]])[0]


def test_many_threads_read_right_rows(workspace: Path, data: Synthetic):
    places, features, _ = data.codes
    counts = np.bincount(features, minlength=300)
    contexts = np.bincount(places // LENGTH, minlength=320)

    def read(i: int) -> tuple[int, int, int, int]:
        feature = store.feature(SAE, i % 300)
        filtered = store.features(SAE).filter(f"feature = {i % 300}").rows()[0]
        return (
            feature.stats.n_active,
            filtered["n_active"],
            int(feature.histogram().counts.sum()),
            store.codes(i % 320).count(),
        )

    with FeatureStore.open(workspace) as store, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(read, range(150)))
    for i, row in enumerate(found):
        assert row == (*(counts[i % 300],) * 3, contexts[i % 320])


def test_reading_while_another_process_builds(copied: Path, python: Callable):
    """A second index appears while threads read the first."""
    code = "import sys, synthetic; from pathlib import Path; synthetic.build(Path(sys.argv[1]), 3, sys.argv[2])"
    with FeatureStore.open(copied, threads=1) as store, ThreadPoolExecutor(3) as pool:
        process = python(code, copied, "another-sae")
        reads = 0
        while process.poll() is None:
            found = list(pool.map(lambda i: store.feature(SAE, i).stats.feature, range(30)))
            assert found == list(range(30))
            assert {sae["id"] for sae in store.saes()} <= {SAE, "another-sae"}
            reads += 1
        assert process.returncode == 0, process.communicate()
        assert reads > 1
        assert [sae["id"] for sae in store.saes()] == ["another-sae", SAE]
        assert store.feature("another-sae", 0).stats.n_active > 0


def test_a_closed_store_says_so(workspace: Path):
    with FeatureStore.open(workspace) as store:
        features, feature = store.features(), store.feature(SAE, 3)
    for call in (features.rows, lambda: store.feature(SAE, 1), lambda: feature.stats, store.indexes):
        with pytest.raises(StoreError, match="has been closed"):
            call()


def test_damaged_indexes_are_named(copied: Path):
    file = index_file(copied)
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[5000 : len(flipped) : 4096] = bytes(255 for _ in flipped[5000 : len(flipped) : 4096])
    for damaged in (whole[: len(whole) // 2], whole[:100], b"", bytes(flipped)):
        file.write_bytes(damaged)
        with (
            FeatureStore.open(copied) as store,
            pytest.raises(StoreError, match=f"{file.name} is damaged or no index") as e,
        ):
            store.features()
        assert "\n" not in str(e.value)
    file.unlink()
    with sqlite3.connect(file) as other:
        other.execute("CREATE TABLE t (i)")
    with FeatureStore.open(copied) as store, pytest.raises(StoreError, match="is damaged or no index"):
        store.features()


def test_a_newer_index_is_refused(copied: Path):
    with duckdb.connect(str(index_file(copied))) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    with (
        FeatureStore.open(copied) as store,
        pytest.raises(StoreError, match=r"written by a newer version.*update saebench"),
    ):
        store.features()


def test_an_older_index_is_refused_with_what_to_do(copied: Path):
    with duckdb.connect(str(index_file(copied))) as connection:
        connection.execute("UPDATE meta SET value = '1' WHERE key = 'schema_version'")
    with (
        FeatureStore.open(copied) as store,
        pytest.raises(StoreError, match=r"written by an older version.*delete it and run `saebench index` again"),
    ):
        store.features()
