import signal
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from store import Catalog, StoreError


def test_put_replaces_and_all_is_sorted(tmp_path: Path):
    catalog = Catalog(tmp_path / "deep" / "workspace")
    for id, n in (("b", 1), ("a", 2), ("b", 3)):
        catalog.put("sae", id, {"n": n, "nested": {"list": [1, None, "ü"]}})
    assert catalog.all("sae") == [
        {"id": i, "n": n, "nested": {"list": [1, None, "ü"]}} for i, n in (("a", 2), ("b", 3))
    ]
    assert catalog.all("index") == []
    assert Catalog(tmp_path / "deep" / "workspace").get("sae", "a")["n"] == 2


def test_errors_name_what_exists(tmp_path: Path):
    catalog = Catalog(tmp_path)
    catalog.put("sae", "one", {})
    with pytest.raises(StoreError, match="has no sae 'two'; it has: one"):
        catalog.get("sae", "two")
    with pytest.raises(StoreError, match="no kind 'saes'; it has: corpus, harvest, sae, set, index"):
        catalog.all("saes")
    with pytest.raises(StoreError, match="cannot be an id"):
        catalog.put("sae", "../x", {})


def test_a_newer_catalogue_is_refused_and_unharmed(tmp_path: Path):
    path = Catalog(tmp_path).path
    with duckdb.connect(str(path)) as connection:
        connection.execute("INSERT INTO schema_version VALUES (99)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"written by a newer version \(schema 99.*update saebench"):
        Catalog(tmp_path)
    assert path.read_bytes() == before


def test_a_damaged_catalogue_is_one_line(tmp_path: Path):
    path = Catalog(tmp_path).path
    path.write_bytes(b"x" * 5000)
    with pytest.raises(StoreError) as raised:
        Catalog(tmp_path)
    assert "catalog.duckdb" in str(raised.value)
    assert "\n" not in str(raised.value)


WRITE = """
import sys
from store import Catalog
for i in range(int(sys.argv[3])):
    Catalog(sys.argv[1]).put("sae", f"{sys.argv[2]}-{i:03}", {"i": i})
    print(i, flush=True)
"""


def test_processes_take_turns(tmp_path: Path, python: Callable):
    writers = [python(WRITE, tmp_path, name, 5) for name in "abc"]
    for writer in writers:
        _, errors = writer.communicate()
        assert writer.returncode == 0, errors
    assert len(Catalog(tmp_path).all("sae")) == 15


ADD = """
import sys
from store import Catalog
for i in range(int(sys.argv[3])):
    Catalog(sys.argv[1]).add("sae", "shared", {f"{sys.argv[2]}-{i}": i})
"""


def test_processes_add_to_one_entry(tmp_path: Path, python: Callable):
    writers = [python(ADD, tmp_path, name, 5) for name in "abc"]
    for writer in writers:
        _, errors = writer.communicate()
        assert writer.returncode == 0, errors
    expected = {f"{name}-{i}": i for name in "abc" for i in range(5)}
    assert Catalog(tmp_path).get("sae", "shared") == expected | {"id": "shared"}


def test_what_was_reported_survives_a_kill(tmp_path: Path, python: Callable):
    for attempt, wait in enumerate((0.05, 0.15, 0.3)):
        writer = python(WRITE, tmp_path, f"k{attempt}", 10_000)
        writer.stdout.readline()
        time.sleep(wait)
        writer.send_signal(signal.SIGKILL)
        reported = len(writer.communicate()[0].splitlines()) + 1
        kept = [e for e in Catalog(tmp_path).all("sae") if e["id"].startswith(f"k{attempt}")]
        assert len(kept) >= reported
        assert [entry["i"] for entry in kept] == list(range(len(kept)))
