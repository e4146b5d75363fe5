"""The worlds of the benchmark: data, recipe, pool, and the requests that are made.

None of these seeds, subjects or splits was used to build or to tune an algorithm, but for what docs/leaderboard.md names
and for CIFAR-10 with classes, seed 2, on which a fault of datamodel-matching was found and mended (docs/decisions/0027).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

import neuralyzer as nz
from benchmarks import examples
from benchmarks.methods import resnet
from neuralyzer.demo import digits
from neuralyzer.influence import kept
from neuralyzer.models import training, weights
from neuralyzer.progress import Silent
from neuralyzer.references.training import backends, stacked
from neuralyzer.references.training.backends import Backend
from neuralyzer.registry.record import Recorder
from neuralyzer.workspace import atomic

RETRAINED = 8
RETRAINED_SEED = 70_000
CHECKPOINTS = 10  # of a recorded training
STACK = 4  # retrained models that are trained together
HALF = "half of a class"
EVEN = 125  # divides the 5,000 rows of CIFAR-10: no last batch of a few (docs/decisions/0028-the-last-batch.md)
CLASSES = "-classes"  # how kinds end that are another's with classes to forget

Rows = tuple[nz.Data, nz.Data]


@dataclass(frozen=True)
class Kind:
    """A kind of world.

    Attributes:
        rows: training rows with subjects and holdout, by seed.
        recipe: by seed.
        requests: by scenario, of the training rows.
        members: of its pool.
        groups: of its pool.
    """

    rows: Callable[[int], Rows]
    recipe: Callable[[int], nz.Recipe]
    requests: Callable[[nz.Data], dict[str, dict[str, Any]]]
    members: int
    groups: tuple[str, ...] = ()


def _shared(count: int) -> Callable[[nz.Data], dict[str, dict[str, Any]]]:
    """Ten subjects together, and one more alone; those that were developed on come first and are left out."""

    def requests(data: nz.Data) -> dict[str, dict[str, Any]]:
        names = sorted(set(data.subjects.tolist()))
        return {"ten": {"subjects": names[count - 11 : count - 1]}, "one": {"subjects": [names[count - 1]]}}

    return requests


def _classes(data: nz.Data) -> dict[str, dict[str, Any]]:
    return {"class": {"classes": ["5"]}, "half": {"subjects": [HALF]}}


def _owned(data: nz.Data, subjects: np.ndarray) -> nz.Data:
    return nz.Data.from_arrays(data.x.numpy(), data.y.numpy(), subjects, data.ids)


def _halved(rows: Rows) -> Rows:
    """Half of the rows of class 3 belong to a subject of their own."""
    data, holdout = rows
    own = np.flatnonzero(data.labels == "3")
    subjects = data.subjects.astype(object)
    subjects[np.random.default_rng(3).permutation(own)[: len(own) // 2]] = HALF
    return _owned(data, subjects.astype(str)), holdout


def _hundred(seed: int) -> Rows:
    """The digits, shared out among a hundred people evenly."""
    data, holdout = digits.digits(seed)
    owners = np.arange(len(data)) % 100
    np.random.default_rng(seed).shuffle(owners)
    return _owned(data, np.char.add("person-", np.char.zfill(owners.astype(str), 3))), holdout


ADULT_GROUP = 325  # rows of 32,561: 1 %


def _adult(data: nz.Data) -> dict[str, dict[str, Any]]:
    order = np.random.default_rng(901).permutation(data.ids)
    return {"ten": {"rows": order[: 10 * ADULT_GROUP].tolist()}, "one": {"rows": order[-ADULT_GROUP:].tolist()}}


KINDS = {
    "digits": Kind(_hundred, digits.recipe, _shared(100), 64),
    "digits-classes": Kind(lambda seed: _halved(_hundred(seed)), digits.recipe, _classes, 64, ("class",)),
    "cifar10": Kind(
        lambda seed: examples.oracle("cifar10").data(seed), lambda seed: examples.oracle("cifar10").recipe(seed),
        _shared(100), 32,
    ),
    "cifar10-even": Kind(
        lambda seed: examples.oracle("cifar10").data(seed),
        lambda seed: replace(examples.oracle("cifar10").recipe(seed), batch_size=EVEN), _shared(100), 32,
    ),
    "cifar10-classes": Kind(
        lambda seed: _halved(examples.oracle("cifar10").data(seed)),
        lambda seed: examples.oracle("cifar10").recipe(seed), _classes, 32, ("class",),
    ),
    "adult": Kind(
        lambda seed: examples.oracle("adult").data(), lambda seed: examples.oracle("adult").recipe(), _adult, 64
    ),
    "resnet18": Kind(resnet.data, resnet.recipe, _shared(100), 32),
}  # fmt: skip


class World:
    """One kind of world by one seed, kept in a folder.

    Args:
        kind: one of ``KINDS``.
        seed: of data and training.
        root: of all worlds.
    """

    def __init__(self, kind: str, seed: int, root: Path) -> None:
        self.kind, self.seed, self.root = KINDS[kind], seed, root / f"{kind}-{seed}"
        self.name = f"{kind}-{seed}"
        base = kind.removesuffix(CLASSES)
        self.kin = (f"{base}-{seed}", f"{base}{CLASSES}-{seed}")  # worlds of the same rows, itself among them

    @cached_property
    def _rows(self) -> Rows:
        return self.kind.rows(self.seed)

    @property
    def data(self) -> nz.Data:
        return self._rows[0]

    @property
    def holdout(self) -> nz.Data:
        return self._rows[1]

    @cached_property
    def recipe(self) -> nz.Recipe:
        return self.kind.recipe(self.seed)

    @property
    def scenarios(self) -> list[str]:
        return list(self.kind.requests(self.data))

    def request(self, scenario: str, **further: Any) -> nz.ErasureRequest:
        return nz.ErasureRequest(**self.kind.requests(self.data)[scenario], **further)

    @cached_property
    def oracle(self) -> nz.TrainedModel:
        """Its training is recorded, for the algorithms that need a history."""
        path, run = self.root / "oracle.safetensors", self.root / "run"
        if not path.exists():
            every = max(1, training.steps_of(self.recipe, len(self.data)) // CHECKPOINTS)
            recorder = Recorder(run, self.data, every, recipe=self.recipe.digest, seed=self.recipe.seed)
            module = nz.TrainedModel.fit(self.recipe, self.data, self.holdout, observer=recorder).model
            recorder.finish(module)
            weights.save(module, path)
        return nz.TrainedModel.load(self.recipe, path, self.data, self.holdout, run if run.exists() else None)

    @cached_property
    def references(self) -> nz.References:
        pool = nz.References.fit(
            self.oracle, self.kind.members, groups=self.kind.groups, workspace=nz.Workspace(self.root), unchecked=True,
            keep_weights=True,  # for adopt-reference
        )  # fmt: skip
        kept.factors(self.oracle, pool.store.curvature)
        return pool

    def retained(self, scenario: str) -> np.ndarray:
        return np.setdiff1d(np.arange(len(self.data)), self.request(scenario).positions(self.data))

    def retraining_seconds(self, scenario: str) -> float:
        """One retraining by itself, timed once."""
        path = self.root / "retrained" / scenario / "seconds.json"
        if not path.exists():
            began = time.perf_counter()
            module = training.train(self.recipe, self.data.select(self.retained(scenario)), RETRAINED_SEED)
            weights.save(module, self._retrained(scenario, 0))
            atomic.write_json(path, {"seconds": time.perf_counter() - began})
        return float(atomic.read_json(path)["seconds"])

    def _retrained(self, scenario: str, number: int) -> Path:
        return self.root / "retrained" / scenario / f"{number}.safetensors"

    def retrained(self, scenario: str) -> list[nn.Module]:
        """Models really trained without the rows, which no algorithm sees."""
        self.retraining_seconds(scenario)
        missing = [n for n in range(RETRAINED) if not self._retrained(scenario, n).exists()]
        backend = Backend.PROCESSES if stacked.obstacle(self.recipe) else Backend.VECTORISED
        for first in range(0, len(missing), STACK):
            own = missing[first : first + STACK]
            seeds = [RETRAINED_SEED + n for n in own]
            made = backends.train(
                backend, self.recipe, self.data, [self.retained(scenario)] * len(own), seeds, Silent()
            )
            for number, module in zip(own, made, strict=True):
                weights.save(module, self._retrained(scenario, number))
        return [self.load(self._retrained(scenario, n)) for n in range(RETRAINED)]

    def load(self, path: Path) -> nn.Module:
        return weights.load_into(weights.clone(self.oracle.model), path).eval()
