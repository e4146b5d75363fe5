"""How often the reproduction check refuses a right recipe, and how often it lets a wrong one pass.

Its threshold was chosen on the worlds of decision 20; these are drawn by other seeds. A member lacks a tenth to two
fifths of the rows and has another seed; a wrong recipe has a quarter of the epochs or a tenth of the learning rate.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks import results
from benchmarks.calibration import worlds
from benchmarks.calibration.worlds import World
from neuralyzer.models import training
from neuralyzer.models.recipe import Recipe
from neuralyzer.models.trained import TrainedModel
from neuralyzer.references.training import reproduction

SEEDS = (41, 42, 43)
MISSING = (0.1, 0.25, 0.4)  # a member's share of missing rows, one a seed
BUILDERS: dict[str, Callable[[int], World]] = {
    "digits": worlds._plain,
    "wrong labels": lambda seed: worlds._named(
        seed, "wrong", lambda x, y, s, g: s, worlds.WRONG, labels=worlds._relabelled
    ),
    "batchnorm": worlds._batchnorm,
    "regression": worlds._regression,
}


def main(argv: list[str] | None = None) -> None:
    lines = [line for name, build in BUILDERS.items() for seed in SEEDS for line in _world(name, build(seed), seed)]
    kinds = ("right", "a quarter of the epochs", "a tenth of the rate")
    table = {
        kind: {
            "cases": sum(line["recipe"] == kind for line in lines),
            "refused": sum(line["recipe"] == kind and line["reason"] is not None for line in lines),
        }
        for kind in kinds
    }
    results.write("reproduction", {"recipes": table, "cases": lines})


def _world(name: str, world: World, seed: int) -> list[dict[str, Any]]:
    recipe = replace(world.recipe, seed=seed)
    oracle = TrainedModel.fit(recipe, world.data, world.holdout)
    generator, missing = np.random.default_rng(seed), MISSING[SEEDS.index(seed)]
    kept = np.sort(generator.permutation(len(world.data))[: round((1 - missing) * len(world.data))])
    others = {
        "right": recipe,
        "a quarter of the epochs": replace(recipe, epochs=max(1, recipe.epochs // 4)),
        "a tenth of the rate": replace(recipe, optimizer=_slower(recipe)),
    }
    lines = []
    for kind, other in others.items():
        member = training.train(other, world.data.select(kept), seed + 1000)
        found = reproduction.compare(oracle, member, kept)
        lines.append({"world": name, "seed": seed, "missing": missing, "recipe": kind, "reason": found.reason})
        print(f"{name} {seed} {kind}: {found.reason}", flush=True)
    return lines


def _slower(recipe: Recipe) -> Callable[[Any], torch.optim.Optimizer]:
    def made(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        optimizer = recipe.optimizer(parameters)
        for group in optimizer.param_groups:
            group["lr"] /= 10
        return optimizer

    return made


if __name__ == "__main__":
    main()
