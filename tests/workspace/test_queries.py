"""Connections to DuckDB: Ctrl-C is Ctrl-C also while a query runs, and nothing is printed."""

import os
import signal
import subprocess
import sys
import threading

import duckdb
import pytest

from neuralyzer.workspace.queries import connected

LONG = "SELECT count(*) FROM range(1000000000000) t(k) WHERE k % 7 = 3"


def test_ctrl_c_in_a_query_is_ctrl_c():
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
    timer.start()
    try:
        with connected(threads=1) as connection, pytest.raises((KeyboardInterrupt, RuntimeError)) as first:
            connection.execute(LONG)
        timer.join()
        assert first.type is KeyboardInterrupt or "interrupted" in str(first.value)
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt), connected(threads=1) as connection:
            connection.execute(LONG)
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)


def test_other_errors_stay_what_they_are():
    with pytest.raises(duckdb.Error, match="nowhere"), connected() as connection:
        connection.execute("SELECT * FROM nowhere")
    with pytest.raises(RuntimeError, match="own"), connected():
        raise RuntimeError("own")


def test_no_bar_is_drawn_between_the_lines_of_an_answer():
    """DuckDB draws one in a process that was started by 'python -c', after two seconds of a query."""
    code = (
        "from neuralyzer.workspace.queries import connected\n"
        "with connected() as found:\n"
        "    print(found.sql(\"SELECT current_setting('enable_progress_bar')\").fetchall())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[(False,)]\n"
