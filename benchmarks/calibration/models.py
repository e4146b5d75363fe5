"""The models of a world: made once, kept, gone on with where a run was stopped; and what the evaluation split reads."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from torch import nn

from benchmarks.calibration.worlds import Request, World, request_name
from neuralyzer.data.request import ErasureRequest
from neuralyzer.models import weights
from neuralyzer.models.trained import TrainedModel
from neuralyzer.progress import Silent
from neuralyzer.references.measurement.evaluator import Reading
from neuralyzer.references.measurement.split import ReferenceSplit
from neuralyzer.references.pool import References
from neuralyzer.references.training import backends
from neuralyzer.workspace.paths import Workspace

Cached = dict[str, Reading]
FIRST_SEED = 900_000  # of models under test: none is a member's


@dataclass(frozen=True)
class Job:
    """One model to train: where it is kept, the rows it is trained on, its seed."""

    path: Path
    rows: np.ndarray
    seed: int


class Made:
    """A world's models in a folder.

    Args:
        world: which.
        root: folder of all worlds.
    """

    def __init__(self, world: World, root: Path) -> None:
        self.world, self.root = world, root / world.name
        self.models = root / (world.models_of or world.name)
        self.pool = root / (world.pool_of or world.name)

    def jobs(self) -> list[Job]:
        """Every model under test that the world asks for."""
        world, n = self.world, len(self.world.data)
        found = [
            Job(self.models / "originals" / f"{k}.safetensors", np.arange(n), FIRST_SEED + k)
            for k in range(world.originals)
        ]
        for place, request in enumerate(world.requests):
            own = ErasureRequest(subjects=request).positions(world.data)
            folder = self.models / request_name(request)
            generator = np.random.default_rng([world.seed, place])
            base = FIRST_SEED + 1000 * (place + 1)
            for k in range(world.retrained):
                found.append(Job(folder / f"retrained-{k}.safetensors", np.setdiff1d(np.arange(n), own), base + k))
            for k, share in enumerate(world.shares):
                dropped = generator.permutation(own)[: len(own) - round(share * len(own))]
                rows = np.setdiff1d(np.arange(n), dropped)
                found.append(Job(folder / f"share-{share}.safetensors", rows, base + 500 + k))
        return found

    @cached_property
    def oracle(self) -> TrainedModel:
        """The original that pool and requests belong to."""
        path, world = self.pool / "oracle.safetensors", self.world
        if path.exists():
            return TrainedModel.load(world.recipe, path, world.data, world.holdout)
        oracle = TrainedModel.fit(world.recipe, world.data, world.holdout)
        weights.save(oracle.model, path)
        return oracle

    @cached_property
    def references(self) -> References:
        """The pool."""
        world = self.world
        return References.fit(
            self.oracle, world.size, world.leave_out, workspace=Workspace(self.pool),
            seed=10_000 + 1000 * world.seed, keep_weights=True,
        )  # fmt: skip

    def missing(self) -> list[Job]:
        """Models that are still to be trained."""
        return [job for job in self.jobs() if not job.path.exists()]

    def missing_members(self) -> int:
        """Members of the pool that are still to be measured."""
        return self.world.size - len(list((self.pool / "references").glob("*/measured/*.json")))

    def make(self) -> None:
        """Make what is missing, its cost shown first."""
        began = time.perf_counter()
        oracle, todo = self.oracle, self.missing()
        recipe, data = self.world.recipe, self.world.data
        kept = [job.rows for job in todo] or [np.arange(len(data))] * 8
        backend, why = backends.choose(recipe, data, kept)
        print(f"{self.world.name}: {len(todo)} models and a pool of {self.world.size} to train; {why}", flush=True)
        pool = self.references
        for chunk in backends.chunks(recipe, backend, data, [len(job.rows) for job in todo]):
            own = [todo[place] for place in chunk]
            if not own:
                continue
            trained = backends.train(
                backend, recipe, data, [job.rows for job in own], [job.seed for job in own], Silent()
            )
            for job, module in zip(own, trained, strict=True):
                weights.save(module, job.path)
        del oracle, pool
        print(f"{self.world.name}: made in {time.perf_counter() - began:.0f} s", flush=True)

    def load(self, path: Path) -> nn.Module:
        """A model under test."""
        return weights.load_into(self.world.recipe.module(), path).eval()

    def paths(self, request: Request, kind: str) -> list[Path]:
        """Models of a kind: ``original``, ``retrained`` or ``share-*``."""
        if kind == "original":
            return [self.models / "originals" / f"{k}.safetensors" for k in range(self.world.originals)]
        found = sorted((self.models / request_name(request)).glob(f"{kind}*.safetensors"))
        return found[: self.world.retrained] if kind == "retrained" else found

    def readings(self, split: ReferenceSplit, request: Request, path: Path, module: nn.Module | None = None) -> Cached:
        """What a model reads on a request's rows; kept beside it.

        Args:
            half: gives the meter; both splits read alike.
            request: whose rows.
            path: of the model's weights.
            module: the model, where it is not simply those weights.

        Returns:
            The readings by signal.
        """
        own = self.root / "readings" / request_name(request) / f"{path.parent.name}-{path.stem}.npz"
        if not own.exists():
            parts = self.references.parts(ErasureRequest(subjects=request).positions(self.world.data))
            read = split.evaluator.read(self.load(path) if module is None else module, parts)
            own.parent.mkdir(parents=True, exist_ok=True)
            arrays = {}
            for name, reading in read.items():
                for k, (rows, outside) in enumerate(zip(reading.rows, reading.holdout, strict=True)):
                    arrays[f"{name}/rows/{k}"], arrays[f"{name}/holdout/{k}"] = rows, outside
            np.savez(own, **arrays)
        return _unpacked(own)

    def each(self, split: ReferenceSplit, kind: str) -> Iterator[tuple[Request, str, Cached]]:
        """Readings of all models of a kind, request by request."""
        for request in self.world.requests:
            for path in self.paths(request, kind):
                yield request, path.stem, self.readings(split, request, path)


def _unpacked(path: Path) -> Cached:
    found: dict[str, tuple[list[np.ndarray], list[np.ndarray]]] = {}
    with np.load(path) as arrays:
        for key in arrays.files:
            name, what, _ = key.split("/")
            found.setdefault(name, ([], []))[what == "holdout"].append(arrays[key])
    return {name: Reading(rows, outside) for name, (rows, outside) in found.items()}
