"""``References``: a pool of models that never saw some of the data; trained once, measured, then destroyed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from neuralyzer._moved import OldAttribute, old_arguments
from neuralyzer.data.holding import TemporaryFolder
from neuralyzer.errors import ReferencesError
from neuralyzer.models import weights
from neuralyzer.models.placement import Placement
from neuralyzer.models.trained import TrainedModel
from neuralyzer.progress import Progress, Silent
from neuralyzer.references import building
from neuralyzer.references.measurement.evaluator import Evaluator, units_of
from neuralyzer.references.measurement.split import ReferenceSplit
from neuralyzer.references.opening import load_evaluator, load_split, outputs_of, unit_shape
from neuralyzer.references.signal_values import Indices, Part
from neuralyzer.references.storage.access_log import FILE as ACCESS_LOG
from neuralyzer.references.storage.access_log import AccessLog
from neuralyzer.references.storage.erased import ErasedNulls, add_erased_nulls
from neuralyzer.references.storage.index import PoolIndex
from neuralyzer.references.storage.store import Store
from neuralyzer.references.training.backends import Backend, Timing, as_backend
from neuralyzer.references.training.processes import Execution, as_engine
from neuralyzer.workspace import commitments, digests, locks
from neuralyzer.workspace.paths import Workspace, as_workspace

DEFAULT_SIZE = 64  # members of both splits together


@dataclass(frozen=True, eq=False)
class References:
    """A pool of measured reference models, bound to a model of the lineage it was made for.

    Attributes:
        store: its folder.
        oracle: the model.
        pool_index: the rows and subjects that it was made of.
    """

    store: Store
    oracle: TrainedModel
    pool_index: PoolIndex
    _temporary: TemporaryFolder | None = None

    @classmethod
    def fit(
        cls,
        oracle: TrainedModel,
        size: int = DEFAULT_SIZE,
        leave_out: float | None = None,
        groups: Sequence[str] = (),
        workspace: Workspace | Path | str | None = None,
        *,
        backend: Backend | str | None = None,
        seed: int = 10_000,
        keep_weights: bool = False,
        progress: Progress | None = None,
        timing: Timing | None = None,
        device: str | None = None,
        precision: str | None = None,
        engine: str | None = None,
        unchecked: bool = False,
        signals: Sequence[str] = (),
    ) -> "References":
        """Train and measure references, or go on where an earlier call stopped.

        Args:
            oracle: the model that they are references for; its recipe, data and holdout are used.
            size: members of both splits together; more than an existing pool has makes it grow in place.
            leave_out: share of the subjects that each member leaves out; by default 6 members' worth.
            groups: kinds of rows that are subjects too; ``class`` is known.
            workspace: where they are kept; a temporary folder by default.
            backend: ``vectorised`` or ``processes``; by default the faster, by a short timing.
            seed: of the design and of the members.
            keep_weights: keep the members' weights once they are measured.
            progress: shown the work.
            timing: of both backends, where a forecast has made it already.
            device: where they are trained, such as ``cuda``; by default the GPU where there is one. They are measured
                on the CPU.
            precision: ``float32`` or ``bf16``; the latter is used where it is faster and one member that is trained
                both ways loses less than a point of accuracy.
            engine: of the worker processes: ``loky`` on this machine, ``ray`` on a cluster.
            unchecked: train them though the recipe may not reproduce a model that was trained elsewhere.
            signals: optional signals by which they are read too, by name.

        Returns:
            The references.

        Raises:
            ReferencesError: if a pool there was made for other data, another recipe, with another design or without a
                signal that is asked for, or the recipe does not reproduce the model.
            UsageError: if there is no such backend, device, precision, engine or signal.
        """
        execution = Execution(Placement.of(device, precision), as_engine(engine))
        oracle.require_holdout()
        temporary = None
        if workspace is None:
            temporary = TemporaryFolder()
            workspace = temporary.path
        store = Store(building.folder_of(as_workspace(workspace).references, oracle, groups))
        plan = building.Plan(
            size,
            leave_out,
            tuple(groups),
            as_backend(backend),
            seed,
            keep_weights,
            timing,
            execution,
            unchecked,
            tuple(signals),
        )
        with locks.held(store.lock, "makes these references"):
            building.build(store, oracle, plan, progress or Silent())
        opened = cls.open(store.root, oracle)
        return replace(opened, _temporary=temporary) if temporary else opened

    @classmethod
    def open(cls, path: Path | str, oracle: TrainedModel) -> "References":
        """Open measured references from their folder, for a model of their lineage.

        Returns:
            The references.

        Raises:
            ReferencesError: if they were made for other data or another recipe, or are not finished.
        """
        store = Store(Path(path))
        head = store.read_head()
        if not head["finished"]:
            raise ReferencesError(f"the references in {path} are not finished; run 'neuralyzer references' again")
        if not oracle.recipe.known_as(head["recipe"]):
            raise ReferencesError(
                f"the references in {path} were made for another recipe ({head['recipe'][:12]}, this one is "
                f"{oracle.recipe.digest[:12]}); make new ones"
            )
        holdout = oracle.require_holdout()
        if head["holdout"] != holdout.digest:
            raise ReferencesError(
                f"the references in {path} were read on another holdout; make new ones or give that one"
            )
        pool_index = PoolIndex.read(store.root)
        pool_index.places(oracle.data)  # refuses other data
        return cls(store, oracle, pool_index)

    @staticmethod
    def closed(path: Path | str, case: str) -> bool:
        """Return whether a case's rows were erased from the pool in a folder."""
        return case in PoolIndex.read(Path(path)).closed

    @cached_property
    def head(self) -> dict[str, Any]:
        """Return the pool's description."""
        return self.store.read_head()

    @property
    def size(self) -> int:
        """Return the number of members of both splits together."""
        return int(self.head["size"])

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 over description and design, which a protocol commits to."""
        return digests.of_texts([digests.of_json(self.head), digests.of_file(self.store.root / "keep.npy")])

    @cached_property
    def evaluator(self) -> Evaluator:
        """Return the evaluator by which models are compared with either split."""
        return load_evaluator(self.store, self.oracle, self.pool_index, self.head)

    @cached_property
    def tuning(self) -> ReferenceSplit:
        """Return the tuning split, the only one that audit, plan and unlearning see."""
        return load_split(self.store, self.oracle, self.pool_index, self.head, 0, self.evaluator)

    @cached_property
    def evaluation(self) -> ReferenceSplit:
        """Return the evaluation split, which is read for the verdict alone; the access log counts how often."""
        return load_split(self.store, self.oracle, self.pool_index, self.head, 1, self.evaluator)

    judging = OldAttribute("evaluation")

    @property
    def access_log(self) -> AccessLog:
        """Return the log of accesses to the evaluation split."""
        workspace = Workspace(self.store.root.parent.parent)
        return AccessLog(self.store.root / ACCESS_LOG, lambda: commitments.key(workspace))

    def parts(self, positions: Indices) -> list[Part]:
        """Return a request's rows by subject, as positions among the model's present rows.

        If the request is not made of whole subjects, groups that it covers as a whole are subjects of their own, since
        members that left out a class know it less than members that left out one of its owners.

        Returns:
            The parts.
        """
        owners, present = self.owners[positions], self.pool_index.present(self.pool_index.places(self.oracle.data))
        parts = [Part(int(owner), positions[owners == owner]) for owner in np.unique(owners)]
        if not self.pool_index.groups or all(len(part.rows) == len(present[part.subject]) for part in parts):
            return parts
        requested = set(positions.tolist())
        whole = [
            Part(subject, present[subject])
            for subject in range(int(self.pool_index.owner.max()) + 1, self.pool_index.subjects)
            if len(present[subject]) and requested.issuperset(present[subject].tolist())
        ]
        rest = np.setdiff1d(positions, np.concatenate([np.empty(0, np.int64), *(part.rows for part in whole)]))
        owners = self.owners[rest]
        return [*(Part(int(owner), rest[owners == owner]) for owner in np.unique(owners)), *whole]

    def names(self, parts: Sequence[Part]) -> list[str]:
        """Return the names by which the access log counts: a subject's name, a group's number."""
        owners = int(self.pool_index.owner.max()) + 1
        return [
            str(self.oracle.data.subjects[part.rows[0]]) if part.subject < owners else f"group {part.subject - owners}"
            for part in parts
        ]

    @cached_property
    def owners(self) -> Indices:
        """Return each present row's subject, ``(N,)``."""
        return self.pool_index.owner[self.pool_index.places(self.oracle.data)]

    def member(self, number: int) -> nn.Module:
        """Load a member whose weights were kept.

        Returns:
            The member.

        Raises:
            ReferencesError: if they were destroyed.
        """
        path = self.store.weights(number)
        if not path.exists():
            raise ReferencesError("the references' weights were destroyed once measured; make them with keep_weights")
        return weights.load_into(self.oracle.recipe.module(), path)

    def saw(self, positions: Indices) -> list[int]:
        """Return the numbers of the members that saw any of the rows at ``positions``."""
        places = self.pool_index.places(self.oracle.data)[positions]
        held = self.pool_index.held(self.store.load("keep.npy")[: self.size])[:, places]
        return [int(number) for number in np.flatnonzero(held.any(1))]

    @old_arguments(memory="nulls")
    def erase(self, positions: Indices, case: str | Sequence[str], nulls: ErasedNulls | None = None) -> None:
        """Erase what was measured on rows, when their case closes.

        Args:
            positions: among the model's present rows.
            case: its id, by which ``closed`` knows it; several where the rows are those of several cases.
            nulls: of the subjects that are removed, kept so that the null of the others does not shrink.
        """
        with locks.held(self.store.lock, "changes these references"):
            self._erase(positions, [case] if isinstance(case, str) else case, nulls)

    def _erase(self, positions: Indices, cases: Sequence[str], nulls: ErasedNulls | None) -> None:
        if nulls is not None:
            add_erased_nulls(self.store.root, nulls)  # first: once the rows are erased, it cannot be computed
        places = self.pool_index.places(self.oracle.data)[positions]
        units = {subject: place for place, subject in enumerate(units_of(self.pool_index.owned))}
        for name, signal in self.evaluator.signals.items():
            rows = self.store.array(f"{name}.rows", (self.size, len(self.pool_index.owner)), write=True)
            rows[:, places] = np.nan
            if signal.per_unit:  # a unit is read as a whole, so the rest of it has no value
                outside = self.store.array(
                    f"{name}.holdout", unit_shape(self.oracle, self.head, len(units)), write=True
                )
                for subject in np.unique(self.pool_index.owner[places]):
                    rows[:, self.pool_index.positions[subject]] = np.nan
                    if subject in units:
                        outside[:, units[int(subject)]] = np.nan
                outside.flush()  # type: ignore[attr-defined]
            rows.flush()  # type: ignore[attr-defined]
        for outputs in outputs_of(self.store, self.pool_index, self.head, write=True):
            outputs[:, places] = np.nan
            outputs.flush()  # type: ignore[attr-defined]
        self.store.curvature.unlink(missing_ok=True)
        self.pool_index.erase(places, cases, self.store.root)
