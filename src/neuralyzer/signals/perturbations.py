"""Perturbed copies of rows: the same perturbations for every model and every row, so that readings compare.

A row's copies depend on the row and the context alone, never on which other rows are read beside it.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from neuralyzer.data import batches
from neuralyzer.data.batches import Inputs
from neuralyzer.signals.signal import Context

SHIFT = 2  # pixels


def copies(x: Inputs, count: int, context: Context, noise: float) -> Iterator[Inputs]:
    """Perturbed copies: the recipe's augmentation, else shifts and flips of images, else noise.

    Args:
        x: rows ``(n, ...)``.
        count: how many copies.
        context: gives the augmentation, the features' spread and the seed.
        noise: standard deviation of the noise, in features' standard deviations; of tokens the share that is replaced.

    Yields:
        ``count`` tensors shaped like ``x``.
    """
    if callable(context.augment):
        for copy in range(count):
            # Row by row: an augmentation draws for the whole batch, and the draw must not depend on the batch.
            generator = torch.Generator()
            yield batches.join(
                [
                    context.augment(batches.alone(row), generator.manual_seed(context.seed + copy))
                    for row in batches.each(x)
                ]
            )
    elif isinstance(x, Tensor) and x.ndim == 4 and noise <= 0:
        yield from _moved(x, count)
    else:
        yield from noisy(x, count, context, noise)


def noisy(x: Inputs, count: int, context: Context, noise: float) -> Iterator[Inputs]:
    """Copies of features with Gaussian noise, of tokens with other tokens.

    Noise comes in pairs of opposite sign, so that first-order effects cancel in the mean.

    Args:
        x: rows ``(n, ...)``.
        count: how many copies.
        context: gives what rows vary by, and the seed.
        noise: its standard deviation, in features' own; of tokens the share that is replaced.

    Yields:
        ``count`` batches like ``x``.
    """
    if isinstance(x, dict):
        yield from _other_tokens(x, count, context, noise) if batches.MASK in x else _by_name(x, count, context, noise)
        return
    generator = torch.Generator().manual_seed(context.seed)
    for copy in range(count):
        if copy % 2 == 0:
            pattern = torch.randn(context.spread.shape, generator=generator) * context.spread * noise
        yield x + (pattern if copy % 2 == 0 else -pattern)


def _other_tokens(x: dict[str, Tensor], count: int, context: Context, noise: float) -> Iterator[Inputs]:
    """Each place is replaced with probability ``noise`` by a token drawn as tokens occur; the same places in every row."""
    width, likely = x[batches.IDS].shape[1], np.cumsum(context.spread.double().numpy())
    for copy in range(count):
        # numpy's draws of a longer row begin as those of a shorter one do
        replaced = np.random.default_rng([context.seed, copy, 0]).random(width) < noise
        drawn = np.searchsorted(likely / likely[-1], np.random.default_rng([context.seed, copy, 1]).random(width))
        here = torch.from_numpy(replaced)[None] & x[batches.MASK].bool()
        yield x | {batches.IDS: torch.where(here, torch.from_numpy(drawn)[None], x[batches.IDS])}


def _by_name(x: dict[str, Tensor], count: int, context: Context, noise: float) -> Iterator[Inputs]:
    """Noise on each input of real numbers, in its own features' standard deviations; others stay."""
    names = sorted(x)
    spreads = torch.split(context.spread, [x[name][0].numel() for name in names])
    real = {name: own.reshape(x[name].shape[1:]) for name, own in zip(names, spreads, strict=True)}
    found = {
        name: noisy(x[name], count, replace(context, spread=own, seed=context.seed + place), noise)
        for place, (name, own) in enumerate(real.items())
        if x[name].is_floating_point()
    }
    for _ in range(count):
        yield x | {name: own for name, made in found.items() if isinstance(own := next(iter(made)), Tensor)}


def _moved(x: Tensor, count: int) -> Iterator[Tensor]:
    steps = [(0, 0), (SHIFT, 0), (-SHIFT, 0), (0, SHIFT), (0, -SHIFT), (SHIFT, SHIFT), (-SHIFT, -SHIFT)]
    for copy in range(count):
        down, right = steps[(copy // 2) % len(steps)]
        moved = torch.roll(x, (down, right), dims=(2, 3))
        yield moved.flip(3) if copy % 2 == 0 else moved
