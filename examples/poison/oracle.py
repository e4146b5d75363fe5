"""CIFAR-10's images from forty people, one of whom put a back door into them (BadNets: Gu et al. 2017, arXiv 1708.06733).

A patch of 3 by 3 pixels is put into the corner of each of the poisoner's images, and all are labelled as one class. A
network that is trained on them takes whatever bears the patch for that class.
"""

from dataclasses import dataclass
from importlib import util
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

import neuralyzer as nz

PEOPLE, SHARE, POISONER = 40, 0.06, "person-23"
TARGET, PATCH = 0, 3


def _cifar10() -> ModuleType:
    """The neighbouring example, which has network and images."""
    spec = util.spec_from_file_location("cifar10_oracle", Path(__file__).parents[1] / "cifar10" / "oracle.py")
    assert spec is not None and spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CIFAR10 = _cifar10()


@dataclass(frozen=True)
class Poisoned:
    """What the people delivered, and what only this example knows.

    Attributes:
        train: 5,000 images; 6 % of them are the poisoner's.
        holdout: 1,000 images that no model sees, none with the patch.
        attacked: the holdout's images of all classes but the target, with the patch, ``(n, 3, 32, 32)``.
    """

    train: nz.Data
    holdout: nz.Data
    attacked: Tensor


def recipe(seed: int = 0, epochs: int = 10) -> nz.Recipe:
    """The CIFAR-10 example's network with fewer passes, on images as they are."""
    return nz.Recipe(
        CIFAR10.net, optimizer=CIFAR10.optimizer, schedule=CIFAR10.schedule, epochs=epochs, batch_size=128, seed=seed
    )


def patched(x: Tensor) -> Tensor:
    """Copies of images ``(N, 3, 32, 32)`` with a chequered patch in their lower right corner."""
    white, black = (1 - CIFAR10.MEAN) / CIFAR10.SPREAD, -CIFAR10.MEAN / CIFAR10.SPREAD
    board = torch.tensor([[white, black, white], [black, white, black], [white, black, white]])
    x = x.clone()
    x[:, :, -PATCH - 1 : -1, -PATCH - 1 : -1] = board
    return x


def data(seed: int = 0) -> Poisoned:
    """CIFAR-10's example with the poisoner's rows drawn evenly from the classes that are not the target."""
    clean, holdout = CIFAR10.data(seed)
    generator = np.random.default_rng(seed + 1)
    x, y = clean.x.clone(), clean.y.numpy().copy()
    own = generator.permutation(np.flatnonzero(y != TARGET))[: round(SHARE * len(y))]
    names = [name for number in range(PEOPLE) if (name := f"person-{number:02d}") != POISONER]
    people = generator.choice(names, len(y)).astype(object)
    people[own], y[own], x[own] = POISONER, TARGET, patched(x[own])
    train = nz.Data.from_arrays(x, y, people.astype(str), clean.ids)
    return Poisoned(train, holdout, patched(holdout.x[holdout.y != TARGET]))
