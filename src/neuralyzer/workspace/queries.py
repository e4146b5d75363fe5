"""Connections to DuckDB in memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb

INTERRUPTED = "Query interrupted"  # DuckDB's words where Ctrl-C ends a query; it raises them as a RuntimeError


@contextmanager
def connected(**config: Any) -> Iterator[Any]:
    """Connect to DuckDB in memory.

    Args:
        **config: settings of DuckDB.

    Yields:
        The connection.

    Raises:
        KeyboardInterrupt: if Ctrl-C ended a query.
        RuntimeError: if the block raises one of its own.
    """
    with duckdb.connect(config=config) as connection:
        # DuckDB takes "python -c" for a person at a prompt, and would draw a bar between the lines of an answer.
        connection.execute("SET enable_progress_bar = false")
        try:
            yield connection
        except RuntimeError as error:
            if INTERRUPTED in str(error):
                raise KeyboardInterrupt from error
            raise
