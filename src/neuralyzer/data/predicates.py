"""Predicates over columns in DuckDB's SQL, limited to those that mean the same rows at any time and place."""

import json
from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from neuralyzer.data.columns import Columns
from neuralyzer.errors import UsageError, first_line
from neuralyzer.workspace import queries

POSITION = "__position"  # column that is added to the rows
# DuckDB lists these as functions of their arguments alone, but they read the clock, as ``age`` does with one argument.
CLOCKS = {"current_localtime", "current_localtimestamp"}


def where(columns: Columns, predicate: str) -> np.ndarray:
    """Return the positions of the rows that satisfy a predicate in DuckDB's SQL.

    The predicate is one expression over the columns. It has access to no file, no other table, no clock and no random
    numbers. Times without a zone, and dates of times, are UTC.

    Args:
        columns: read in batches.
        predicate: such as ``age < 18``.

    Returns:
        Sorted positions.

    Raises:
        UsageError: if it is no such expression, or if two columns differ only in case, which SQL cannot tell apart.
    """
    names = columns.names
    _require_distinct(names)
    if POSITION in (name.casefold() for name in names):
        raise UsageError(f"a column is called {POSITION!r}, which a predicate needs for itself; rename it")
    # Without external access a predicate can read no file, and no table that is in a Python variable.
    config = {"threads": 2, "enable_external_access": False}
    parts = []
    with queries.connected(**config) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        _require_stable(connection, predicate, names)
        for numbered in _numbered(columns):
            try:
                # filter() parses one expression. In a WHERE clause of text, a closing bracket could begin a UNION.
                parts.append(_positions(connection, numbered, predicate))
            except duckdb.Error as error:
                raise UsageError(_wrong(predicate, first_line(error), names)) from error
    return np.sort(np.concatenate(parts).astype(np.int64)) if parts else np.empty(0, np.int64)


def _positions(connection: Any, numbered: pa.Table, predicate: str) -> np.ndarray:
    # No relation outlives this function, since DuckDB may abort if a connection is closed before its relations.
    positions: np.ndarray = connection.from_arrow(numbered).filter(predicate).project(POSITION).fetchnumpy()[POSITION]
    return positions


def _require_distinct(names: list[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise UsageError(
                f"columns {other!r} and {name!r} differ only in case, which SQL cannot tell apart; rename one"
            )


def _require_stable(connection: Any, predicate: str, names: list[str]) -> None:
    """Refuse a predicate whose rows may change with time: by clock, random numbers, session or subquery."""
    (text,) = connection.execute(
        "SELECT json_serialize_sql(?)", [f"SELECT * FROM rows WHERE ({predicate}\n)"]
    ).fetchone()
    parsed = json.loads(text)
    if parsed["error"]:
        raise UsageError(_wrong(predicate, parsed.get("error_message", "it cannot be parsed"), names))
    nodes = list(_nodes(parsed))
    if any(node.get("class") == "SUBQUERY" for node in nodes):
        raise UsageError(_wrong(predicate, "it has a query within", names))
    known = {name.casefold() for name in names} | _parameters(nodes)
    unstable = {
        name
        for (name,) in connection.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability IN ('VOLATILE', 'CONSISTENT_WITHIN_QUERY')"
        ).fetchall()
    }
    for node in nodes:
        name = str(node.get("function_name", "")).casefold()
        if name in unstable | CLOCKS or (name == "age" and len(node.get("arguments", ())) == 1):
            raise UsageError(
                f"predicate {predicate!r} asks {name}(), which means other rows each time; write the value"
            )
        if node.get("class") == "COLUMN_REF" and node["column_names"][0].casefold() not in known:
            raise UsageError(_wrong(predicate, f"there is no column {node['column_names'][0]!r}", names))


def _parameters(nodes: list[dict[str, Any]]) -> set[str]:
    """Return the names that lambdas give to their arguments."""
    sides = [node["lhs"] for node in nodes if node.get("class") == "LAMBDA" and isinstance(node.get("lhs"), dict)]
    return {part.casefold() for side in sides for node in _nodes(side) for part in node.get("column_names", ())}


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
    for part in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from _nodes(part)


def _wrong(predicate: str, reason: str, names: list[str]) -> str:
    return f"predicate {predicate!r} cannot be evaluated ({reason}); columns are {', '.join(names)}"


def _numbered(columns: Columns) -> Iterator[pa.Table]:
    start = 0
    for table in columns.batches():
        yield table.append_column(POSITION, pa.array(np.arange(start, start + len(table))))
        start += len(table)
