"""A member's step in a stack beside that of a member alone: ``python -m benchmarks.language.stacks --workspace W``.

Both on one thread and in turns, in seconds of the processor, so that a busy machine disturbs the ratio little. A member
alone is what each process of the backend ``processes`` trains. What it takes to make the models is subtracted.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.language import worlds
from neuralyzer.data.rows import Data
from neuralyzer.models import training
from neuralyzer.models.recipe import Recipe
from neuralyzer.progress import Silent
from neuralyzer.references.training import stacked

SHARE = 0.625  # of the rows that a member has
FIRST, LAST = 1, 5  # the steps between these two are timed
CASES, SIZES = ((16, 2048), (4, 2048), (16, 8192)), (1, 2, 4, 8, 16)  # rows of a batch and most tokens of a pass


def step(work: Callable[[int], None]) -> float:
    """Return the processor's seconds of a step of some training."""
    seconds = []
    for steps in (FIRST, LAST):
        began = time.process_time()
        work(steps)
        seconds.append(time.process_time() - began)
    return (seconds[1] - seconds[0]) / (LAST - FIRST)


def alone(recipe: Recipe, data: Data, seed: int, steps: int) -> None:
    """Take some steps of a member alone."""
    module = recipe.module(seed)
    optimizer, order = (
        recipe.optimizer(training.trainable(module)),
        training.order(len(data), 1, recipe.batch_size, seed),
    )
    for done, _ in enumerate(training.run_steps(recipe, module, optimizer, data, order, seed), 1):
        if done == steps:
            return


def ratio(recipe: Recipe, data: Data, members: int, turns: int) -> tuple[float, float]:
    """Return the seconds of a step alone, and the share of them that a member's step in a stack takes; medians."""
    draw, count = np.random.default_rng(0), int(SHARE * len(data))
    kept = [np.sort(draw.permutation(len(data))[:count]) for _ in range(members)]
    single, shares = [], []
    for turn in range(turns):
        seed = turn % members
        single.append(step(partial(alone, replace(recipe, batch_tokens=None), data.select(kept[seed]), seed)))
        together = partial(stacked.train_stack, recipe, data, kept, range(members), Silent())
        shares.append(step(together) / members / single[-1])
    return float(np.median(single)), float(np.median(shares))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--turns", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    world = worlds.World(worlds.base(asked.workspace), asked.workspace, lora=worlds.LORA)
    print("rows of a batch, most tokens of a pass, members: milliseconds alone, share of that in a stack")
    for batch, tokens in CASES:
        recipe = replace(world.recipe, batch_size=batch, batch_tokens=tokens)
        ratio(recipe, world.data, 2, 1)  # the first call imports and allocates
        for members in SIZES:
            seconds, share = ratio(recipe, world.data, members, asked.turns)
            print(f"{batch} {tokens} {members}: {1000 * seconds:.1f} {share:.2f}", flush=True)


if __name__ == "__main__":
    main()
