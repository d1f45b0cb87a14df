"""Checking what users write into filter() and order(), with DuckDB's own parser."""

import difflib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import duckdb

from store.errors import StoreError, first_line

_FORBIDDEN = {
    "SUBQUERY": "a subquery",
    "WINDOW": "a window function",
    "STAR": "'*'",
    "PARAMETER": "a parameter",
    "DEFAULT": "DEFAULT",
}


def check_filter(connection: duckdb.DuckDBPyConnection, text: str, columns: Sequence[str]) -> None:
    """Raise StoreError unless `text` is one condition over these columns."""
    node = _parse(connection, f"SELECT (\n{text}\n)", text, "filter")
    expressions = node.pop("select_list")
    if len(expressions) != 1 or node != _empty(connection, "SELECT (\nNULL\n)", "select_list"):
        raise StoreError(f"filter {text!r} must be one condition, like 'density > 1e-4 AND n_active > 10'")
    _check(expressions, columns, text, "filter")


def check_order(connection: duckdb.DuckDBPyConnection, text: str, columns: Sequence[str]) -> None:
    """Raise StoreError unless `text` is a list of expressions over these columns, each with ASC or DESC at will."""
    node = _parse(connection, f"SELECT NULL ORDER BY\n{text}\n", text, "order")
    modifiers = node.pop("modifiers")
    plain = _empty(connection, "SELECT NULL ORDER BY\nNULL\n", "modifiers")
    if len(modifiers) != 1 or modifiers[0]["type"] != "ORDER_MODIFIER" or node != plain:
        raise StoreError(f"order {text!r} must be a list of columns, like 'max_activation DESC, feature'")
    _check([order["expression"] for order in modifiers[0]["orders"]], columns, text, "order")


def unknown_column(name: str, columns: Sequence[str], where: str) -> StoreError:
    """The error for a column that does not exist, with the nearest one that does."""
    near = difflib.get_close_matches(name, columns, 1, 0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return StoreError(f"{where}: there is no column {name!r}; {hint}columns: {', '.join(columns)}")


def _parse(connection: duckdb.DuckDBPyConnection, sql: str, text: str, where: str) -> dict[str, Any]:
    if not text.strip():
        raise StoreError(f"{where} is empty")
    rows = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
    parsed = json.loads(rows[0][0])
    if parsed["error"]:
        message = parsed["error_message"].splitlines()[0]
        closing = message.endswith('near ")"') and not text.rstrip().endswith(")")
        raise StoreError(f"{where} {text!r}: {'it ends too early' if closing else message}")
    if len(parsed["statements"]) != 1:
        raise StoreError(f"{where} {text!r} must be one expression, not several statements")
    node = parsed["statements"][0]["node"]
    if node.get("type") != "SELECT_NODE":
        raise StoreError(f"{where} {text!r} must be one expression, not a query")
    return _without_locations(node)


def _empty(connection: duckdb.DuckDBPyConnection, sql: str, hole: str) -> dict[str, Any]:
    node = _parse(connection, sql, "NULL", "template")
    node.pop(hole)
    return node


def _without_locations(node: Any) -> Any:
    if isinstance(node, dict):
        return {k: _without_locations(v) for k, v in node.items() if not k.startswith("query_location")}
    return [_without_locations(v) for v in node] if isinstance(node, list) else node


def _check(expressions: Any, columns: Sequence[str], text: str, where: str) -> None:
    lowered = {column.lower() for column in columns}
    for node, bound in _nodes(expressions, frozenset()):
        what = _FORBIDDEN.get(node["class"])
        if what:
            raise StoreError(f"{where} {text!r} may not contain {what}")
        if node["class"] == "COLUMN_REF":
            name = ".".join(node["column_names"])
            if name.lower() not in lowered and name not in bound:
                raise unknown_column(name, columns, f"{where} {text!r}")


def _nodes(node: Any, bound: frozenset[str]) -> Iterator[tuple[dict[str, Any], frozenset[str]]]:
    """Every expression under a node, with the names that lambdas around it bind."""
    if isinstance(node, dict):
        if node.get("class") == "LAMBDA":
            bound = bound | {_name(inner) for inner, _ in _nodes(node["lhs"], bound) if inner["class"] == "COLUMN_REF"}
        if "class" in node:
            yield node, bound
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _nodes(child, bound)


def _name(node: dict[str, Any]) -> str:
    return ".".join(node["column_names"])


def explain(error: duckdb.Error, text: str) -> StoreError:
    """What DuckDB says about an expression, in one line."""
    return StoreError(f"{text}: {first_line(error)}")
