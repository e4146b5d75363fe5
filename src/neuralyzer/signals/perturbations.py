"""Perturbed copies of rows: the same perturbations for every model and every row, so that readings compare.

A row's copies depend on the row and the context alone, never on which other rows are read beside it.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from neuralyzer.signals.signal import Context

SHIFT = 2  # pixels


def copies(x: Tensor, count: int, context: Context, noise: float) -> Iterator[Tensor]:
    """Perturbed copies: the recipe's augmentation, else shifts and flips of images, else Gaussian noise.

    Args:
        x: rows ``(n, ...)``.
        count: how many copies.
        context: gives the augmentation, the features' spread and the seed.
        noise: standard deviation of the noise, in features' standard deviations.

    Yields:
        ``count`` tensors shaped like ``x``.
    """
    if callable(context.augment):
        for copy in range(count):
            # Row by row: an augmentation draws for the whole batch, and the draw must not depend on the batch.
            generator = torch.Generator()
            yield torch.cat(
                [context.augment(row[None], generator.manual_seed(context.seed + copy)) for row in x.unbind()]
            )
    elif x.ndim == 4 and noise <= 0:
        yield from _moved(x, count)
    else:
        yield from noisy(x, count, context, noise)


def noisy(x: Tensor, count: int, context: Context, noise: float) -> Iterator[Tensor]:
    """Copies with Gaussian noise, in pairs of opposite sign, so that first-order effects cancel in the mean."""
    generator = torch.Generator().manual_seed(context.seed)
    for copy in range(count):
        if copy % 2 == 0:
            pattern = torch.randn(context.spread.shape, generator=generator) * context.spread * noise
        yield x + (pattern if copy % 2 == 0 else -pattern)


def _moved(x: Tensor, count: int) -> Iterator[Tensor]:
    steps = [(0, 0), (SHIFT, 0), (-SHIFT, 0), (0, SHIFT), (0, -SHIFT), (SHIFT, SHIFT), (-SHIFT, -SHIFT)]
    for copy in range(count):
        down, right = steps[(copy // 2) % len(steps)]
        moved = torch.roll(x, (down, right), dims=(2, 3))
        yield moved.flip(3) if copy % 2 == 0 else moved
