"""Augmented copies of training rows, on which references are read as well where the recipe augments."""

from collections.abc import Iterator
from dataclasses import replace

from neuralyzer.data.batches import Inputs
from neuralyzer.signals import perturbations
from neuralyzer.signals.signal import Context

COPIES = 4  # of each row
OWN_DRAWS = 1_000_000  # added to the seed, so that these copies are none that a signal reads


def count(context: Context) -> int:
    """Return the number of copies of a row: 0 where the recipe does not augment."""
    return COPIES if callable(context.augment) else 0


def copies(x: Inputs, number: int, context: Context) -> Iterator[Inputs]:
    """Draw augmented copies of rows, other ones than the signal ``augmented`` reads.

    Unlearning may match a model to the references' outputs on these copies; the verdict reads other copies.

    Args:
        x: rows ``(n, ...)``.
        number: copies of each row that the pool has outputs of.
        context: has the augmentation and the seed.

    Yields:
        ``number`` tensors shaped like ``x``.
    """
    yield from perturbations.copies(x, number, replace(context, seed=context.seed + OWN_DRAWS), 0.0)
