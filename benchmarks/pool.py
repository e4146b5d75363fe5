"""Training references: stacked members against a plain loop over the same trainings, in one run.

Also the share of the matrix-multiply rate that ``torch.mm`` reaches on this machine.
"""

import time

import numpy as np
import torch

from benchmarks import results
from neuralyzer.demo import digits
from neuralyzer.models import training
from neuralyzer.progress import Silent
from neuralyzer.references import vectorised

MEMBERS, STEPS = 64, 400


def main(argv: list[str] | None = None) -> None:
    data, _ = digits.digits(1)
    recipe = digits.recipe(1)
    kept = [np.random.default_rng(m).permutation(len(data))[:1166] for m in range(MEMBERS)]
    vectorised.train_stack(recipe, data, kept[:4], list(range(4)), Silent(), steps=20)
    stacked = {}
    for size in (8, 16, 32, 64):
        began = time.perf_counter()
        vectorised.train_stack(recipe, data, kept[:size], list(range(size)), Silent(), steps=STEPS)
        stacked[size] = (time.perf_counter() - began) / size / STEPS
    module = recipe.module(0)
    optimizer = recipe.optimizer(training.trainable(module))
    steps = list(training.order(1166, recipe.epochs, recipe.batch_size, 0))[:STEPS]
    began = time.perf_counter()
    for _ in training.run_steps(recipe, module, optimizer, data, iter(steps), 0):
        pass
    alone = (time.perf_counter() - began) / STEPS
    parameters = sum(p.numel() for p in module.parameters())
    rate = 6 * parameters * recipe.batch_size / stacked[32]
    results.write(
        "pool",
        {
            "loop_ms_a_step": 1000 * alone,
            "stacked_ms_a_members_step": {size: 1000 * seconds for size, seconds in stacked.items()},
            "times_faster": {size: alone / seconds for size, seconds in stacked.items()},
            "share_of_mm_rate_32": rate / _mm_rate(),
        },
    )


def _mm_rate(size: int = 1024) -> float:
    a, b = torch.randn(size, size), torch.randn(size, size)
    a @ b
    began = time.perf_counter()
    for _ in range(20):
        a @ b
    return 20 * 2 * size**3 / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
