"""Queries of people who are not trusted: they read what `sql` reads, and nothing else, for a while, in some memory."""

import json
import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
import synthetic
from synthetic import CORPUS, SAE

from store import Annotations, FeatureStore
from store.sandbox import LONGEST_QUERY, SECONDS, Answer, QueryError, ask

ALIAS = f"{SAE}__{CORPUS}".replace(".", "_").replace("-", "_")


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureStore]:
    folder = tmp_path_factory.mktemp("sandbox")
    synthetic.build(folder)
    Annotations(folder).set_label(SAE, 7, "blanks", "x")
    Annotations(folder).add_to_list("seen", SAE, 9, "x")
    with FeatureStore.open(folder, threads=1) as store:
        yield store


def columns(answer: Answer) -> dict[str, list]:
    return {name: [row[i] for row in answer.rows] for i, (name, _) in enumerate(answer.columns)}


@pytest.mark.parametrize(
    "query",
    [
        "SELECT feature, density, promoted, dead, top_token FROM feature ORDER BY feature -- all",
        "SELECT f.feature, label FROM feature f JOIN memory.label USING (feature) WHERE sae LIKE 'demo%';",
        "WITH c AS (SELECT feature, count(*) AS n FROM code GROUP BY ALL) FROM c ORDER BY n DESC, feature",
        "FROM memory.listed SELECT list, sae, feature",
        f"SELECT feature FROM {ALIAS}.neighbour WHERE rank = 0",
    ],
)
def test_it_reads_what_sql_reads(opened: FeatureStore, query: str):
    answer = ask(opened, query, SAE)
    truth = opened.sql(query.split(" --")[0], SAE).arrow()
    assert columns(answer) == truth.to_pydict()
    assert not answer.more
    json.dumps(answer.rows, allow_nan=False)


def test_rows_are_bounded(opened: FeatureStore):
    answer = ask(opened, "FROM range(1000000)", rows=7)
    assert (answer.rows, answer.more) == ([[i] for i in range(7)], True)
    assert not ask(opened, "FROM range(7)", rows=7).more
    wide = ask(opened, "SELECT repeat('x', 200000) FROM range(500)", rows=1000)
    assert (wide.more, len(wide.rows[0][0])) == (True, 100_001)


def test_values_of_every_type_are_json(opened: FeatureStore):
    everything = ask(opened, "FROM test_all_types()")
    with duckdb.connect() as connection:
        described = connection.execute("DESCRIBE FROM test_all_types()").fetchall()
    assert [name for name, _ in everything.columns] == [row[0] for row in described]
    json.dumps(everything.rows, allow_nan=False)
    query = """SELECT 'nan'::FLOAT, '-inf'::DOUBLE, '\\xE2a\\x5C'::BLOB, [1, NULL], {'a': 1e999::DOUBLE}, NULL,
               (2::HUGEINT ** 100)::HUGEINT, 9007199254740991, 9007199254740993, MAP {'x': 2}, DATE '0044-03-15 (BC)',
               1.50::DECIMAL(4, 2), TIMESTAMPTZ '2020-01-01 00:00:00+00', [DATE '2020-01-02']"""
    (row,) = ask(opened, query).rows
    assert row[:10] == [
        "nan", "-inf", "\\xE2a\\x5C", [1, None], {"a": "inf"}, None, str(2**100), 2**53 - 1, str(2**53 + 1), {"x": 2},
    ]  # fmt: skip
    assert row[10:12] == ["0044-03-15 (BC)", "1.50"]
    assert row[13] == "[2020-01-02]"


@pytest.mark.parametrize(
    "query",
    [
        "FROM read_csv('{file}')",
        "FROM read_text('{file}')",
        "FROM read_blob('{file}')",
        "FROM read_json('{file}')",
        "FROM '{file}'",
        "FROM glob('{folder}/*')",
        "FROM parquet_metadata('{file}')",
        "FROM sniff_csv('{file}')",
        "FROM read_duckdb('{file}')",
        "FROM read_csv('http://127.0.0.1:9/x')",
        "FROM read_csv('/dev/stdin')",
        "FROM duckdb_secrets()",
        "SELECT getenv('HOME')",
        "SELECT * FROM query('COPY (SELECT 1) TO ''{folder}/out''')",
        "COPY (SELECT 1) TO '{folder}/out'",
        "COPY memory.label FROM '{file}'",
        "EXPORT DATABASE '{folder}/out'",
        "ATTACH '{folder}/out' AS out",
        "DETACH memory",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "RESET memory_limit",
        "PRAGMA enable_profiling",
        "PRAGMA database_list",
        "CALL enable_logging(storage = 'file', storage_path = '{folder}/out')",
        "FROM enable_logging(storage = 'file', storage_path = '{folder}/out')",
        "FROM enable_profiling()",
        "CREATE SECRET (TYPE s3)",
        "CREATE TABLE t AS SELECT 1",
        "CREATE TEMP TABLE t AS SELECT 1",
        "DROP TABLE feature",
        "DELETE FROM memory.label",
        "WITH x AS (SELECT 1) INSERT INTO memory.label SELECT * FROM x",
        "SELECT 1; SELECT 2",
        "SELECT 1; COPY (SELECT 1) TO '{folder}/out'",
        "BEGIN",
        "CHECKPOINT",
        "PREPARE p AS SELECT 1",
        "FROM request",
        "FROM connection",
        "FROM pandas_scan(1)",
        "FROM arrow_scan(1, 2, 3)",
        "SELECT 1 FROM (",
        "",
        ";",
        "-- nothing",
    ],
)
def test_it_does_nothing_else(opened: FeatureStore, tmp_path: Path, query: str):
    file = tmp_path / "secret.csv"
    file.write_text("a,b\nsecret,1\n")
    with pytest.raises(QueryError) as raised:
        ask(opened, query.format(file=file, folder=tmp_path))
    assert "\n" not in str(raised.value)
    assert "secret,1" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["secret.csv"]


def test_no_environment_is_handed_on(opened: FeatureStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOME_TOKEN", "very-secret-value")
    for query in ("FROM duckdb_settings()", "FROM duckdb_variables()", "FROM duckdb_databases()", "FROM pg_settings"):
        assert "very-secret-value" not in json.dumps(ask(opened, query).rows)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT count(*) FROM range(10000000000000)",
        "SELECT count(*) FROM feature a, feature b, feature c, feature d, feature e",
        "SELECT levenshtein(repeat('a', 300000), repeat('b', 300000))",
        "SELECT sleep_ms(60000)",
        "WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM r) SELECT max(i) FROM r",
    ],
)
def test_a_long_query_is_stopped(opened: FeatureStore, query: str):
    begun = time.monotonic()
    with pytest.raises(QueryError, match=r"longer than 5 seconds|memory"):
        ask(opened, query)
    assert time.monotonic() - begun < SECONDS + 4


@pytest.mark.parametrize(
    "query",
    [
        "SELECT list(range) FROM range(1000000000)",
        "SELECT length(repeat('x', 3000000000))",
        "SELECT len(range(1000000000))",
        "FROM range(100000) a, range(100000) b ORDER BY hash(a.range + b.range)",
        "SELECT string_agg(range::VARCHAR, '') FROM range(1000000000)",
    ],
)
def test_a_large_query_is_stopped(opened: FeatureStore, query: str):
    with pytest.raises(QueryError, match=r"memory|longer than"):
        ask(opened, query)
    assert ask(opened, "SELECT 1").rows == [[1]]


def test_a_long_query_keeps_nobody_waiting(opened: FeatureStore):
    def ask_for_long() -> None:
        with pytest.raises(QueryError, match="longer than"):
            ask(opened, "SELECT count(*) FROM range(10000000000000), memory.label")

    slow = threading.Thread(target=ask_for_long)
    slow.start()
    time.sleep(0.5)
    begun = time.monotonic()
    assert ask(opened, "SELECT count(*) FROM feature", SAE).rows == [[300]]
    opened.label(SAE, 3, "written meanwhile")
    assert opened.features(SAE).filter("label = 'written meanwhile'").count() == 1
    assert slow.is_alive()
    assert time.monotonic() - begun < 3
    slow.join()


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("SELECT 'é🙂', densty FROM feature", "densty"),
        ("SELECT *\nFROM featur\nWHERE true", "featur"),
        ("SELECT foo(1)", "foo"),
        ("SELEC 1", "SELEC"),
    ],
)
def test_errors_say_where(opened: FeatureStore, query: str, word: str):
    with pytest.raises(QueryError) as raised:
        ask(opened, query, SAE)
    position = raised.value.position
    assert position is not None
    assert query[position:].startswith(word)


def test_a_query_has_a_length(opened: FeatureStore):
    with pytest.raises(QueryError, match="characters"):
        ask(opened, "SELECT 1 -- " + "x" * LONGEST_QUERY)


def test_columns_are_those_that_queries_find(opened: FeatureStore):
    found = opened.columns()
    for table, names in found.items():
        answer = ask(opened, f"FROM {table} LIMIT 0", SAE)
        assert answer.columns == names, table
    assert {"feature", "activation", "memory.label", "memory.listed"} <= set(found)
    assert math.isfinite(ask(opened, "SELECT max(density) FROM feature", SAE).rows[0][0])
