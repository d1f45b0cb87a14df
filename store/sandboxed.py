"""One query that nobody trusts, in a process that can do nothing else: `store.sandbox` starts this file by its path.

It imports nothing of the store, so that it starts in a third of a second. It reads a request (JSON) from its standard
input and writes an answer (JSON) to its output. Before the query runs, the process gives up what a query must not have:
DuckDB's access to files and settings, then the system's: no file is opened or written any more, by whatever means.
"""

import json
import math
import os
import re
import resource
import sys
from typing import Any

import duckdb

LONGEST_TEXT = 100_000
"""Characters of one value; what is longer is cut."""
LARGEST_ANSWER = 32_000_000
"""Characters of all rows; further rows are left out."""
_EXACT = 2**53
_TEXT_ONLY = re.compile("DATE|TIME|INTERVAL|UNION|BIT|VARIANT")
"""Types whose values DuckDB writes better than Python holds them: dates before the year 1, time zones."""
_MEBIBYTE = 1 << 20


def main() -> None:
    """Answer the request on standard input."""
    request = json.load(sys.stdin)
    try:
        answer = _answer(request)
    except MemoryError:
        answer = {"error": _no_memory(request), "position": None}
    except duckdb.Error as error:
        answer = _problem(error, request)
    except Exception as error:  # a value that Python cannot hold, such as a date before the year 1
        answer = {"error": f"the result cannot be read: {error}", "position": None}
    json.dump(answer, sys.stdout, allow_nan=False)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    connection = duckdb.connect(
        config={
            "threads": request["threads"],
            "temp_directory": "",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
        }
    )
    connection.execute(f"SET memory_limit = '{request['memory_mib']}MiB'")
    for alias, path in request["indexes"].items():
        if os.path.exists(path):  # noqa: PTH110 (an index may have been removed since it was listed)
            connection.execute(f"ATTACH {_literal(path)} AS {_name(alias)} (READ_ONLY)")
    for table, path in request["tables"].items():
        connection.execute(f"CREATE TABLE {_name(table)} AS FROM read_parquet({_literal(path)})")
    there = {name for (name,) in connection.execute("SELECT database_name FROM duckdb_databases()").fetchall()}
    if request["default"] in there:
        connection.execute(f"USE {_name(request['default'])}")
    connection.execute("SET errors_as_json = true")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    _give_up_files(request)
    print(flush=True)  # from here on the query's time runs, not that of a busy machine's starting processes
    statements = connection.extract_statements(request["query"])
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        return {"error": "write one query that only reads: SELECT …, FROM …, or WITH … SELECT …", "position": None}
    query = request["query"].rstrip().rstrip(";")
    names = [(row[0], row[1]) for row in _execute(connection, "DESCRIBE ", query).fetchall()]
    read = [f"#{i}::VARCHAR" if _TEXT_ONLY.search(kind) else f"#{i}" for i, (_, kind) in enumerate(names, 1)]
    result = _execute(connection, f"SELECT {', '.join(read)} FROM (\n", query, "\n)")
    rows: list[list[Any]] = []
    size = 0
    while True:
        some = result.fetchmany(100)
        for row in some:
            values = [_plain(value) for value in row]
            size += len(json.dumps(values))
            if len(rows) == request["rows"] or size > LARGEST_ANSWER:
                return {"columns": names, "rows": rows, "more": True}
            rows.append(values)
        if not some:
            return {"columns": names, "rows": rows, "more": False}


def _execute(connection: duckdb.DuckDBPyConnection, before: str, query: str, after: str = "") -> Any:
    """Run something around the query; an error says how far its place is shifted by that."""
    try:
        return connection.execute(before + query + after)
    except duckdb.Error as error:
        error.add_note(str(len(before)))
        raise


def _give_up_files(request: dict[str, Any]) -> None:
    """From here on the system refuses: files to open, bytes to write to files, memory and time beyond the limits."""
    memory = request["memory_mib"] * _MEBIBYTE + request["overhead_mib"] * _MEBIBYTE
    seconds = math.ceil(request["seconds"])  # whoever started this kills it before, unless that is gone itself
    for what, limit in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds * request["threads"]),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 0),
    ):
        resource.setrlimit(what, (limit, limit))


def _problem(error: duckdb.Error, request: dict[str, Any]) -> dict[str, Any]:
    """What DuckDB says, in one line, and where in the query."""
    if isinstance(error, duckdb.OutOfMemoryException):
        return {"error": _no_memory(request), "position": None}
    _, _, text = str(error).partition(" Error: ")
    try:
        said = json.loads(text)
    except ValueError:
        return {"error": " ".join(str(error).split()), "position": None}
    shift = sum(map(int, getattr(error, "__notes__", [])))
    where = None if "position" not in said else max(int(said["position"]) - shift, 0)
    return {"error": " ".join(said["exception_message"].split()), "position": where}


def _no_memory(request: dict[str, Any]) -> str:
    return f"the query needs more than {request['memory_mib']} MiB of memory; read fewer rows or columns at once"


def _plain(value: Any) -> Any:
    """A value that JSON can hold and JavaScript reads exactly; anything else as text."""
    match value:
        case None | bool():
            return value
        case int():
            return value if abs(value) < _EXACT else str(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case str():
            return value if len(value) <= LONGEST_TEXT else value[:LONGEST_TEXT] + "…"
        case bytes():
            return _plain("".join(chr(b) if 32 <= b < 127 and b != 92 else f"\\x{b:02X}" for b in value[:LONGEST_TEXT]))
        case list() | tuple():
            return [_plain(one) for one in value]
        case dict():
            return {str(_plain(key)): _plain(one) for key, one in value.items()}
    return _plain(str(value))


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


if __name__ == "__main__":
    main()
