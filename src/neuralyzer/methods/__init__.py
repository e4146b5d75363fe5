"""Unlearning algorithms, one file each, in folders by their guarantee.

A new algorithm is a file with a class in one of them, or an entry point in the group ``neuralyzer.methods``.
"""

from typing import Any


def names() -> list[str]:
    """Return the names of all algorithms."""
    from neuralyzer.methods import catalogue  # imported when used, because the algorithms import torch

    return catalogue.names()


def get(name: str) -> type[Any]:
    """Return an algorithm's class; called with hyperparameters it gives a ``Method``."""
    from neuralyzer.methods import catalogue

    return catalogue.get(name)
