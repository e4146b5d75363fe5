"""Members trained one by one in worker processes, through joblib: for any recipe at all."""

import warnings
from collections.abc import Iterator, Sequence

import joblib
import numpy as np
import torch
from torch import Tensor, nn

from neuralyzer.data.rows import Data
from neuralyzer.models import training, weights
from neuralyzer.models.recipe import Recipe


def train_each(
    recipe: Recipe, data: Data, kept: Sequence[np.ndarray], seeds: Sequence[int], workers: int
) -> Iterator[nn.Module]:
    """Train members, ``workers`` at once with one thread each.

    Args:
        recipe: how.
        data: rows of all members.
        kept: positions of each member's rows.
        seeds: one a member.
        workers: processes.

    Yields:
        The members in order, in evaluation mode, as soon as each is ready.
    """
    jobs = (joblib.delayed(_train)(recipe, data.select(rows), seed) for rows, seed in zip(kept, seeds, strict=True))
    states = joblib.Parallel(n_jobs=workers, return_as="generator")(jobs)
    try:
        for state in states:
            module = recipe.module(0)
            yield weights.fill(
                module, {name: torch.from_numpy(value) for name, value in state.items()}, "a reference"
            ).eval()
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # joblib warns of those that a stop leaves untrained
            states.close()


def _train(recipe: Recipe, data: Data, seed: int) -> dict[str, np.ndarray]:
    torch.set_num_threads(1)
    module = training.train(recipe, data, seed)
    state: dict[str, Tensor] = dict(module.state_dict())
    return {name: value.numpy() for name, value in state.items()}
