"""Perturbed copies of rows: the same perturbations for every model and every row, so that values are comparable.

A row's copies depend on the row and the context alone, never on the other rows of the batch (decision 5).
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from neuralyzer.data import batches
from neuralyzer.data.batches import Inputs
from neuralyzer.signals.signal import Context

SHIFT = 2  # pixels by which images are shifted


def copies(x: Inputs, count: int, context: Context, noise: float) -> Iterator[Inputs]:
    """Draw perturbed copies: by the recipe's augmentation, else shifts and flips of images, else noise.

    Args:
        x: rows ``(n, ...)``.
        count: number of copies.
        context: has the augmentation, the features' spread and the seed.
        noise: standard deviation of the noise, in features' standard deviations; of tokens the share that is replaced.

    Yields:
        ``count`` tensors shaped like ``x``.
    """
    if callable(context.augment):
        for copy in range(count):
            # Row by row, since an augmentation draws for a whole batch and a row's draw must not depend on its batch.
            generator = torch.Generator()
            yield batches.join(
                [
                    context.augment(batches.alone(row), generator.manual_seed(context.seed + copy))
                    for row in batches.each(x)
                ]
            )
    elif isinstance(x, Tensor) and x.ndim == 4 and noise <= 0:
        yield from _shifted(x, count)
    else:
        yield from noisy(x, count, context, noise)


def noisy(x: Inputs, count: int, context: Context, noise: float) -> Iterator[Inputs]:
    """Draw copies of features with Gaussian noise, or of tokens with some tokens replaced.

    Noise comes in pairs of opposite sign, so that first-order effects cancel in the mean.

    Args:
        x: rows ``(n, ...)``.
        count: number of copies.
        context: has the features' spread, or the tokens' frequencies, and the seed.
        noise: standard deviation of the noise, in features' standard deviations; of tokens the share that is replaced.

    Yields:
        ``count`` batches like ``x``.
    """
    if isinstance(x, dict):
        yield from (
            _with_other_tokens(x, count, context, noise) if batches.MASK in x else _by_name(x, count, context, noise)
        )
        return
    generator = torch.Generator().manual_seed(context.seed)
    for copy in range(count):
        if copy % 2 == 0:
            pattern = torch.randn(context.spread.shape, generator=generator) * context.spread * noise
        yield x + (pattern if copy % 2 == 0 else -pattern)


def _with_other_tokens(x: dict[str, Tensor], count: int, context: Context, noise: float) -> Iterator[Inputs]:
    """Replace each place with probability ``noise`` by a token drawn by frequency; the same places in every row."""
    width, frequencies = x[batches.IDS].shape[1], np.cumsum(context.spread.double().numpy())
    for copy in range(count):
        # NumPy's draws for a longer row begin with those for a shorter one, so padding changes nothing.
        replaced = np.random.default_rng([context.seed, copy, 0]).random(width) < noise
        uniform = np.random.default_rng([context.seed, copy, 1]).random(width)
        drawn = np.searchsorted(frequencies / frequencies[-1], uniform)
        places = torch.from_numpy(replaced)[None] & x[batches.MASK].bool()
        if batches.TARGETS in x:  # what a language model shall say stays; prompts are perturbed
            places &= ~x[batches.TARGETS].bool()
        yield x | {batches.IDS: torch.where(places, torch.from_numpy(drawn)[None], x[batches.IDS])}


def _by_name(x: dict[str, Tensor], count: int, context: Context, noise: float) -> Iterator[Inputs]:
    """Add noise to each input of real numbers, in its own features' standard deviations; other inputs stay."""
    names = sorted(x)
    parts = torch.split(context.spread, [x[name][0].numel() for name in names])
    spreads = {name: part.reshape(x[name].shape[1:]) for name, part in zip(names, parts, strict=True)}
    copies_of = {
        name: noisy(x[name], count, replace(context, spread=own_spread, seed=context.seed + place), noise)
        for place, (name, own_spread) in enumerate(spreads.items())
        if x[name].is_floating_point()
    }
    for _ in range(count):
        yield x | {name: copy for name, made in copies_of.items() if isinstance(copy := next(iter(made)), Tensor)}


def _shifted(x: Tensor, count: int) -> Iterator[Tensor]:
    """Shift images by up to ``SHIFT`` pixels, each shift once with a flip and once without."""
    steps = [(0, 0), (SHIFT, 0), (-SHIFT, 0), (0, SHIFT), (0, -SHIFT), (SHIFT, SHIFT), (-SHIFT, -SHIFT)]
    for copy in range(count):
        down, right = steps[(copy // 2) % len(steps)]
        shifted = torch.roll(x, (down, right), dims=(2, 3))
        yield shifted.flip(3) if copy % 2 == 0 else shifted
