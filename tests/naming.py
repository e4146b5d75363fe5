"""Names of test cases that are the same in every process, as distributing them over processes needs."""

from typing import Any


def named(value: Any) -> str:
    """A parameter as text: a mapping by its items, a function by its name."""
    if isinstance(value, dict):
        return " ".join(f"{key}={named(own)}" for key, own in value.items()) or "plain"
    return getattr(value, "__name__", str(value))
