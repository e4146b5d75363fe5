"""The present moment as records have it."""

import datetime as dt


def now() -> str:
    """Return the present moment in ISO 8601, to the second."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
