"""Augmented copies of training rows on which references are read too: what an augmenting recipe's models know."""

from collections.abc import Iterator
from dataclasses import replace

from neuralyzer.data.batches import Inputs
from neuralyzer.signals import perturbations
from neuralyzer.signals.signal import Context

COPIES = 4
OWN_DRAWS = 1_000_000  # added to the seed: no signal reads these copies


def count(context: Context) -> int:
    """How many copies a row has: none where the recipe does not augment."""
    return COPIES if callable(context.augment) else 0


def copies(x: Inputs, number: int, context: Context) -> Iterator[Inputs]:
    """The copies, other draws of the recipe's augmentation than those that the signal ``augmented`` reads.

    An unlearned model is brought to what models that never saw the rows output on these copies, and judged on others.

    Args:
        x: rows ``(n, ...)``.
        number: how many the pool holds.
        context: gives the augmentation and the seed.

    Yields:
        ``number`` tensors shaped like ``x``.
    """
    yield from perturbations.copies(x, number, replace(context, seed=context.seed + OWN_DRAWS), 0.0)
