"""Unlearning algorithms, one file each, in folders by what they promise.

A new algorithm is a file with a class in one of them, or an entry point in the group ``neuralyzer.methods``.
"""

from typing import Any


def names() -> list[str]:
    """Names of all algorithms."""
    from neuralyzer.methods import catalogue  # loaded when used: the algorithms need torch

    return catalogue.names()


def get(name: str) -> type[Any]:
    """The algorithm's class; called with hyperparameters it gives a ``Method``."""
    from neuralyzer.methods import catalogue

    return catalogue.get(name)
