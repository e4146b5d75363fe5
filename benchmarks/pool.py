"""Training references: each backend against a plain loop over the same trainings, in one run.

The plain loop is what a person would write: torch's threads, its image layout, the recipe's own optimizer. Beside it
the share of the rate that ``torch.mm`` reaches on this machine, taken before and after, and the members' accuracies
by each way of training them.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from benchmarks import results
from neuralyzer.data.rows import Data
from neuralyzer.demo import digits
from neuralyzer.models import reading, training
from neuralyzer.models.placement import Placement
from neuralyzer.models.recipe import Recipe
from neuralyzer.progress import Silent
from neuralyzer.references.training import backends, processes, stacked
from neuralyzer.references.training.processes import Execution

MEMBERS, LOOPED, EPOCHS = 64, 8, 20  # the loop is timed on fewer members and shorter trainings than a pool's
IMAGE_MEMBERS, IMAGE_LOOPED, IMAGE_EPOCHS = 8, 4, 4


def main(argv: list[str] | None = None) -> None:
    rate = _mm_rate()
    measured = {"mlp": _mlp()}
    measured["mlp"]["mm_gflops"] = [rate / 1e9, _mm_rate() / 1e9]
    highest = max(measured["mlp"]["mm_gflops"])
    measured["mlp"]["share_of_mm_rate"] = measured["mlp"]["gflops"] / highest
    measured["mlp"]["bare_share_of_mm_rate"] = measured["mlp"]["bare_gflops"] / highest
    if "NEURALYZER_DATA" in os.environ:
        measured["cnn"] = _cnn()
    else:
        print("the CNN is left out: NEURALYZER_DATA names no folder with cifar10", file=sys.stderr)
    results.write("pool", measured)


def _mlp() -> dict:
    data, holdout = digits.digits(1)
    recipe = replace(digits.recipe(1), epochs=EPOCHS)
    kept = [np.random.default_rng(m).permutation(len(data))[:1166] for m in range(MEMBERS)]
    seeds = list(range(MEMBERS))
    steps = training.steps_of(recipe, 1166)
    stacked.train_stack(recipe, data, kept[:4], seeds[:4], Silent(), steps=5)
    looped, loop = _timed(lambda: [_loop(recipe, data, kept[m], m) for m in range(LOOPED)], LOOPED)
    side_by_side, stack = _timed(lambda: stacked.train_stack(recipe, data, kept, seeds, Silent()), MEMBERS)
    _, loop_again = _timed(lambda: [_loop(recipe, data, kept[m], m) for m in range(2)], 2)
    loop = min(loop, loop_again)
    parameters = sum(p.numel() for p in recipe.module().parameters())
    flops = 6 * parameters * recipe.batch_size
    bare = _bare(recipe)
    found = {
        "loop_ms_a_step": 1000 * loop / steps,
        "stacked_ms_a_members_step": 1000 * stack / steps,
        "times_faster": loop / stack,
        "gflops": flops * steps / stack / 1e9,
        "bare_ms_a_members_step": 1000 * bare,
        "bare_gflops": flops / bare / 1e9,
        "points_between_ways": _points(recipe, holdout, looped, side_by_side[:LOOPED]),
    }
    if torch.cuda.is_available():
        gpu = Placement(torch.device("cuda"))
        stacked.train_stack(recipe, data, kept[:4], seeds[:4], Silent(), 5, gpu)
        _, seconds = _timed(lambda: stacked.train_stack(recipe, data, kept, seeds, Silent(), None, gpu), MEMBERS)
        found |= {"gpu": torch.cuda.get_device_name(), "gpu_times_faster": loop / seconds}
    return found


def _bare(recipe: Recipe, repeats: int = 200) -> float:
    """Seconds a member's step of nothing but its matrix products and the optimizer's update: a bound for any stack.

    Batches of 16 rows make products so thin that reading and writing the weights takes longer than multiplying.
    """
    layers = [layer for layer in recipe.module().modules() if isinstance(layer, nn.Linear)]
    rows, weights, outs = [], [], []
    for layer in layers:
        rows.append(torch.randn(MEMBERS, recipe.batch_size, layer.in_features))
        weights.append(torch.randn(MEMBERS, layer.in_features, layer.out_features).requires_grad_())
        outs.append(torch.randn(MEMBERS, recipe.batch_size, layer.out_features))
    optimizer = recipe.optimizer(weights)  # type: ignore[arg-type]

    def step() -> list[nn.Module]:
        with torch.no_grad():
            for place, (x, weight, out) in enumerate(zip(rows, weights, outs, strict=True)):
                torch.bmm(x, weight)
                weight.grad = torch.bmm(x.transpose(1, 2), out)
                if place:  # nothing asks for the gradient of the rows themselves
                    torch.bmm(out, weight.transpose(1, 2))
        optimizer.step()
        return []

    step()
    _, seconds = _timed(lambda: [made for _ in range(repeats) for made in step()], repeats * MEMBERS)
    return seconds


def _cnn() -> dict:
    from benchmarks.calibration.worlds import world

    made = world("cifar10-14")
    recipe = replace(made.recipe, epochs=IMAGE_EPOCHS)
    kept = [np.random.default_rng(m).permutation(5000)[:4500] for m in range(IMAGE_MEMBERS)]
    seeds = list(range(IMAGE_MEMBERS))
    steps = training.steps_of(recipe, 4500)

    def spread() -> list[nn.Module]:
        return list(processes.train_each(recipe, made.data, kept, seeds, backends.workers(), Execution()))

    list(processes.train_each(replace(recipe, epochs=1), made.data, [k[:50] for k in kept[:2]], [0, 1], 2))  # starts
    first, loop = _timed(lambda: [_loop(recipe, made.data, kept[m], m) for m in range(IMAGE_LOOPED // 2)], 2)
    parted, seconds = _timed(spread, IMAGE_MEMBERS)
    rest, later = _timed(lambda: [_loop(recipe, made.data, kept[m], m) for m in (2, 3)], 2)
    loop = (loop + later) / 2
    return {
        "loop_ms_a_step": 1000 * loop / steps,
        "processes_ms_a_members_step": 1000 * seconds / steps,
        "times_faster": loop / seconds,
        "points_between_ways": _points(recipe, made.holdout, [*first, *rest], parted[:IMAGE_LOOPED]),
    }


def _loop(recipe: Recipe, data: Data, kept: np.ndarray, seed: int) -> nn.Module:
    """What a person would write."""
    module = recipe.module(seed).train()
    optimizer = recipe.optimizer(training.trainable(module))
    for positions in training.order(len(kept), recipe.epochs, recipe.batch_size, seed):
        x, y = data.gather(kept[positions])
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x), y).backward()
        optimizer.step()
    return module.eval()


def _points(recipe: Recipe, holdout: Data, *ways: Sequence[nn.Module]) -> float:
    """How far the mean accuracies of the same members lie apart by how they were trained, in points."""
    means = [np.mean([reading.utility(module, recipe.objective, holdout) for module in way]) for way in ways]
    return 100 * float(max(means) - min(means))


def _timed(work: Callable[[], list[nn.Module]], count: int) -> tuple[list[nn.Module], float]:
    """What ``work`` makes, and its seconds a member."""
    began = time.perf_counter()
    made = work()
    return made, (time.perf_counter() - began) / count


def _mm_rate(size: int = 1024) -> float:
    a, b = torch.randn(size, size), torch.randn(size, size)
    a @ b
    began = time.perf_counter()
    for _ in range(20):
        a @ b
    return 20 * 2 * size**3 / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
