"""Queries of people who are not trusted, over the indexes and what is said of their features.

Decisions:
- Each runs in a process of its own (`store.sandboxed`), which is killed when its time is up. DuckDB inside a server can
  be told to keep off files, but not to stop: some of its functions look for no interruption, some take pointers.
- The indexes are opened where they are, read-only; labels, notes, explanations and lists are handed over as copies, so
  that a long query keeps nobody from writing them.
"""

import contextlib
import json
import re
import select
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store import sandboxed
from store.errors import StoreError
from store.mirror import TABLES
from store.reader import FeatureStore

SECONDS = 5.0
MEMORY_MIB = 512
THREADS = 1
AT_ONCE = 4
"""Queries that run at the same time; further ones wait for as long as one may take."""
LONGEST_QUERY = 20_000
"""Characters."""
_OVERHEAD_MIB = 1536
_START_SECONDS = 60.0
"""How long a process may take to start on a busy machine; the query's time begins after it."""
_free = threading.BoundedSemaphore(AT_ONCE)
_ANNOTATED = re.compile("|".join(TABLES), re.IGNORECASE)


class QueryError(StoreError):
    """A query that cannot be answered."""

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message)
        self.position = position
        """Where in the query, in characters; None if that cannot be said."""


@dataclass(frozen=True)
class Answer:
    """The rows of a query, as JSON can hold them.

    Attributes:
        columns: (name, DuckDB's type) of each.
        rows: values: NULL is None, whole numbers beyond 2⁵³ and what is no finite number are text, so are times and
            bytes (those that are no ASCII as \\\\xE2), lists are lists, structs and maps dicts.
        more: whether rows were left out.
    """

    columns: list[tuple[str, str]]
    rows: list[list[Any]]
    more: bool


def ask(store: FeatureStore, query: str, sae: str | None = None, corpus: str | None = None, rows: int = 1000) -> Answer:
    """The first rows of a query: one SELECT over the tables that `FeatureStore.sql` knows, under the same names.

    Args:
        store: whose indexes and labels are asked.
        query: in DuckDB's SQL.
        sae, corpus: whose tables go by their bare names.
        rows: how many rows are read at most.

    Raises:
        QueryError: it is wrong, does something other than read, or takes more time or memory than it may.
        StoreError: an index cannot be read.
    """
    if len(query) > LONGEST_QUERY:
        raise QueryError(f"the query has {len(query):,} characters; {LONGEST_QUERY:,} are allowed")
    with tempfile.TemporaryDirectory(prefix="saebench-sql-") as folder:
        request = {
            "query": query,
            "indexes": store.attachments(),
            "default": store.default_alias(sae, corpus),
            "tables": _copies(store, Path(folder)) if _ANNOTATED.search(query) else {},
            "rows": rows,
            "seconds": SECONDS + 5,
            "memory_mib": MEMORY_MIB,
            "overhead_mib": _OVERHEAD_MIB,
            "threads": THREADS,
        }
        answer = _run(request)
    if "error" in answer:
        raise QueryError(answer["error"], _characters(query, answer["position"]))
    return Answer([(name, kind) for name, kind in answer["columns"]], answer["rows"], answer["more"])


def _copies(store: FeatureStore, folder: Path) -> dict[str, str]:
    return {name: str(store.annotated(name).to_parquet(folder / f"{name}.parquet")) for name in TABLES}


def _run(request: dict[str, Any]) -> dict[str, Any]:
    if not _free.acquire(timeout=SECONDS):
        raise QueryError(f"{AT_ONCE} other queries are running; try again in a moment")
    process = subprocess.Popen(
        [sys.executable, "-I", sandboxed.__file__],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={}, bufsize=0,
    )  # fmt: skip
    try:
        out = _answered(process, json.dumps(request).encode())
    except subprocess.TimeoutExpired:
        raise QueryError(
            f"the query took longer than {SECONDS:g} seconds and was stopped; read fewer rows, or put a condition first"
        ) from None
    finally:
        process.kill()
        process.communicate()
        _free.release()
    if process.returncode == 0 and out:
        return dict(json.loads(out))
    raise QueryError("the query broke off: it needs too much memory, or found a fault in DuckDB; write it differently")


def _answered(process: "subprocess.Popen[bytes]", request: bytes) -> bytes:
    """What a process says to a request. Raises TimeoutExpired if it does not start, or the query runs out of time."""
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as to:
        to.write(request)
    process.stdin = None
    if not select.select([process.stdout], [], [], _START_SECONDS)[0]:
        raise subprocess.TimeoutExpired(process.args, _START_SECONDS)
    ready = process.stdout.read(1)
    return ready + process.communicate(timeout=SECONDS)[0]


def _characters(query: str, n_bytes: int | None) -> int | None:
    """DuckDB counts bytes, people characters."""
    return None if n_bytes is None else len(query.encode()[:n_bytes].decode(errors="ignore"))
