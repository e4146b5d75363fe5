"""Small worlds with subjects whose models remember them: where recipes are declared wrongly."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from torch import nn

from benchmarks import groups
from benchmarks.calibration import worlds as calibration
from benchmarks.calibration.worlds import World as CalibrationWorld
from benchmarks.calibration.worlds import _adamw
from neuralyzer.data.rows import Data
from neuralyzer.models.recipe import Recipe


@dataclass(frozen=True)
class World:
    """Training rows with subjects, a holdout, the recipe that is declared, and how many references there are.

    ``asked`` are the subjects whose requests are judged; by default all, or some that are drawn.
    """

    name: str
    recipe: Recipe
    data: Data
    holdout: Data
    size: int = 32
    asked: tuple[str, ...] = ()


def _mlp(inputs: int, width: int, classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, classes)
    )


def _repeated(
    name: str,
    x: np.ndarray,
    y: np.ndarray,
    seed: int,
    rows: int,
    subjects: int,
    wrong: float,
    noise: float,
    repeats: int,
    width: int,
    epochs: int,
    rate: float,
) -> World:
    """Each row ``repeats`` times with noise, some labels wrong; a row's copies are one subject's."""
    generator = np.random.default_rng(seed)
    x = ((x - x.mean(0)) / (x.std(0) + 1e-9)).astype(np.float32)
    order = generator.permutation(len(y))
    count = rows // repeats
    own, rest = order[:count], order[count:]
    if len(rest) < 200:  # a small data set: the holdout is of noisy copies of rows that are in no training set
        rest = np.repeat(rest, -(-200 // len(rest)))
    labels = y[own].copy()
    flipped = generator.random(count) < wrong
    classes = int(y.max()) + 1
    labels[flipped] = (labels[flipped] + generator.integers(1, classes, int(flipped.sum()))) % classes
    owner = generator.integers(subjects, size=count)
    owner[:subjects] = np.arange(subjects)
    inputs, targets = np.repeat(x[own], repeats, 0), np.repeat(labels, repeats)
    inputs = inputs + noise * generator.normal(size=inputs.shape).astype(np.float32)
    outside = x[rest] + noise * generator.normal(size=x[rest].shape).astype(np.float32)
    names = [f"subject-{k:02d}" for k in np.repeat(owner, repeats)]
    data = Data.from_arrays(inputs, targets, names, [f"row-{k}" for k in range(len(targets))])
    holdout = Data.from_arrays(outside, y[rest], ids=[f"held-{k}" for k in range(len(rest))])
    recipe = Recipe(
        partial(_mlp, x.shape[1], width, classes), optimizer=partial(_adamw, rate=rate), epochs=epochs, batch_size=32,
        seed=seed,
    )  # fmt: skip
    return World(name, recipe, data, holdout)


def breast_cancer(seed: int) -> World:
    """Ten features of breast cancer, 1,200 rows of 24 subjects, 6 % wrong labels."""
    x, y = load_breast_cancer(return_X_y=True)
    return _repeated(f"breast-cancer-{seed}", x[:, :10], y, seed, 1200, 24, 0.06, 0.25, 3, 96, 40, 5e-3)


def digits(seed: int) -> World:
    """Digits in 24 features that few pixels give, 24 subjects, 5 % wrong labels."""
    x, y = load_digits(return_X_y=True)
    return _repeated(f"digits-{seed}", x[:, 8:56:2], y, seed, 1200, 24, 0.05, 0.1, 1, 96, 60, 2e-3)


def _of(world: CalibrationWorld) -> World:
    """A world of the calibration, whose models remember less."""
    return World(f"calibration-{world.name}", world.recipe, world.data, world.holdout, world.size)


def _epochs(seed: int, share: float) -> World:
    world = digits(seed)
    recipe = replace(world.recipe, epochs=round(share * world.recipe.epochs))
    return replace(world, name=f"{world.name}-{recipe.epochs}-epochs", recipe=recipe)


def misleading(world: World) -> World:
    """The world with its rows dealt to twelve suppliers; one has 12 % of them, and all of its labels are wrong."""
    generator = np.random.default_rng(world.recipe.seed + 1)
    count, classes = len(world.data), int(world.data.y.max()) + 1
    names = generator.permutation([f"supplier-{k:02d}" for k in range(1, 12)] * (count // 11 + 1))[:count].astype(
        object
    )
    wrong = generator.permutation(count)[: round(0.12 * count)]
    names[wrong] = "supplier-00"
    labels = world.data.y.numpy().copy()
    labels[wrong] = (labels[wrong] + generator.integers(1, classes, len(wrong))) % classes
    data = Data.from_arrays(world.data.x.numpy(), labels, names.astype(str), world.data.ids)
    return replace(world, name=f"{world.name}-misleading", data=data, asked=("supplier-00",))


def _cifar(seed: int) -> World | None:
    return _of(calibration._cifar(seed)) if "NEURALYZER_DATA" in os.environ else None


def _adult(seed: int) -> World | None:
    """Adult's people in 40 clinics of 100 rows each."""
    if "NEURALYZER_DATA" not in os.environ:
        return None
    single = groups.adult(seed, 0, 4000)
    clinics = [f"clinic-{k:02d}" for k in np.random.default_rng(seed).permutation(np.repeat(np.arange(40), 100))]
    data = Data.from_arrays(single.data.x.numpy(), single.data.y.numpy(), clinics, single.data.ids)
    return World(f"adult-{seed}", single.recipe, data, single.holdout)


WRONG: dict[str, Callable[[int], World]] = {
    "breast-cancer": breast_cancer,
    "digits": digits,
    "breast-cancer, misleading rows": lambda seed: misleading(breast_cancer(seed)),
    "digits, misleading rows": lambda seed: misleading(digits(seed)),
}
RIGHT: dict[str, Callable[[int], World | None]] = {
    **WRONG,
    "few epochs": partial(_epochs, share=0.25),
    "many epochs": partial(_epochs, share=4.0),
    "another seed": lambda seed: breast_cancer(seed + 10),
    "larger pool": lambda seed: replace(breast_cancer(seed + 20), size=64),
    "calibration's digits": lambda seed: _of(calibration._plain(seed)),
    "BatchNorm and augmentation": lambda seed: _of(calibration._batchnorm(seed)),
    "regression": lambda seed: _of(calibration._regression(seed)),
    "CIFAR-10": _cifar,
    "Adult": _adult,
}
