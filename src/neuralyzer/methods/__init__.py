"""Unlearning algorithms, one file each, and what they share: the task, the tuner, the repair.

A new algorithm is a file with a class here, or an entry point in the group ``neuralyzer.methods``.
"""

from typing import Any

__all__ = ["get", "names"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # loaded when used: the algorithms need torch
        from neuralyzer.methods import catalogue

        return getattr(catalogue, name)
    raise AttributeError(f"module 'neuralyzer.methods' has no attribute {name!r}")
