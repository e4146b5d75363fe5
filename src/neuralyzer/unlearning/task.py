"""``Task``: what an unlearning algorithm is given, and nothing of the judge."""

import copy
import math
import time
import warnings
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from neuralyzer.data.request import ErasureRequest
from neuralyzer.data.rows import Data
from neuralyzer.errors import ReferencesError
from neuralyzer.influence import kept
from neuralyzer.influence.ekfac import Ekfac
from neuralyzer.models import reading
from neuralyzer.models.kinds.kind import Capability
from neuralyzer.models.objective import Objective
from neuralyzer.models.placement import CPU, Placement
from neuralyzer.models.trained import TrainedModel
from neuralyzer.progress import Progress
from neuralyzer.references.measurement.split import ReferenceSplit
from neuralyzer.references.pool import References
from neuralyzer.registry.history import Checkpoint, History, foreign
from neuralyzer.trace.estimator import Estimates, PoolEstimator
from neuralyzer.trace.group_estimator import estimator_for
from neuralyzer.unlearning.training_audit import TrainingAudit

HELD_BACK = 0.1  # of the retained rows: what repair stops by
MOST_HELD_BACK = 1000
FEWEST_NEVER = 3  # members whose mean utility says something
OLD_NAMES = {  # that plugins may use, for one more version
    "witness": "training_audit", "late": "time_is_up", "outside": "tuning_holdout", "gone": "removed_classes",
}  # fmt: skip


class Task:
    """A model, a request, and the tuning split of the references.

    Args:
        oracle: the model; never changed.
        request: what shall be forgotten.
        references: a pool; only its tuning split is kept here. None where there are none.
        alpha: error rate of the tuning split's joint test.
        seed: of whatever the algorithm draws.
        placement: where whole trainings run; all else is on the CPU.

    Attributes:
        references: the tuning split, or None.
        positions: of the forget rows among the oracle's data, ``(F,)``.
        training_audit: what exact algorithms are watched by.
        tried: what a tuner tried, with what the tuning split said of it.
    """

    def __init__(
        self,
        oracle: TrainedModel,
        request: ErasureRequest,
        references: References | None = None,
        alpha: float = 0.05,
        seed: int = 0,
        placement: Placement = CPU,
    ) -> None:
        self.oracle, self.request, self.alpha, self.seed = oracle, request, alpha, seed
        self.placement = placement
        self.positions = request.positions(oracle.data)
        self.references: ReferenceSplit | None = None if references is None else references.tuning
        self.parts = [] if references is None else references.parts(self.positions)
        self.training_audit, self.tried = TrainingAudit(frozenset(self.forget.ids.tolist())), list[dict[str, Any]]()
        self._kept = None if references is None else references.store.curvature
        self.start(request.budget)

    def __getattr__(self, name: str) -> Any:
        if name not in OLD_NAMES:
            raise AttributeError(f"a Task has no {name!r}")
        warnings.warn(f"Task.{name} is now Task.{OLD_NAMES[name]}", DeprecationWarning, stacklevel=2)
        return getattr(self, OLD_NAMES[name])

    def start(self, seconds: float | None) -> None:
        """Let an algorithm's time begin now; the request's budget has begun when the task was made.

        Args:
            seconds: that it has; None for as long as it takes.
        """
        self._ends = math.inf if seconds is None else time.perf_counter() + seconds

    @property
    def limited(self) -> bool:
        """Whether the time is limited."""
        return math.isfinite(self._ends)

    @property
    def time_is_up(self) -> bool:
        """Whether the time is up: an algorithm stops cleanly, with the best that it has."""
        return time.perf_counter() > self._ends

    def going_on_from(self, module: nn.Module) -> "Task":
        """This task with another model to begin with: for an algorithm that takes up what another left.

        Its time, its tuning split and its record of trials are this task's own; the curvature is still the original's.

        Args:
            module: that model.

        Returns:
            The task.
        """
        if module is self.model:
            return self
        other, factors = copy.copy(self), self.factors if "factors" in self.__dict__ else None
        for name in ("factors", "generalisation_gap"):
            other.__dict__.pop(name, None)
        other.oracle, other._kept = replace(self.oracle, model=module), None
        if factors is not None:
            other.__dict__["factors"] = factors
        return other

    def part(self, positions: np.ndarray) -> "Task":
        """This task for some of the forget rows; all the others of the request are not retained either.

        Args:
            positions: of them, among the oracle's data.

        Returns:
            The task.
        """
        other = copy.copy(self)
        for name in ("forget", "estimator", "never_seen_loss", "predicted_utility"):
            other.__dict__.pop(name, None)
        other.__dict__["retain"] = self.retain
        other.positions = np.sort(positions)
        inside = [(part, np.isin(part.rows, positions)) for part in self.parts]
        other.parts = [replace(part, rows=part.rows[own]) for part, own in inside if own.any()]
        return other

    @property
    def model(self) -> nn.Module:
        """The original."""
        return self.oracle.model

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What can be done with the model on these rows."""
        return self.oracle.recipe.capabilities

    @property
    def objective(self) -> Objective:
        """What the model was trained for."""
        return self.oracle.recipe.objective

    @cached_property
    def forget(self) -> Data:
        """The rows to forget."""
        return self.oracle.data.select(self.positions)

    @cached_property
    def retain(self) -> Data:
        """All other training rows."""
        return self.oracle.data.select(np.setdiff1d(np.arange(len(self.oracle.data)), self.positions))

    @cached_property
    def _split(self) -> tuple[np.ndarray, np.ndarray]:
        count = len(self.retain)
        order = np.random.default_rng(self.seed).permutation(count)
        back = min(int(HELD_BACK * count), MOST_HELD_BACK)
        return np.sort(order[back:]), np.sort(order[:back])

    @cached_property
    def repairing(self) -> Data:
        """Retained rows that a repair trains on."""
        return self.retain.select(self._split[0])

    @cached_property
    def held_back(self) -> Data:
        """Retained rows that no repair trains on: it stops by them."""
        return self.retain.select(self._split[1])

    @cached_property
    def tuning_holdout(self) -> Data:
        """Every other row of the holdout: what a tuner reads utility on.

        Rows of a class that goes whole are left out: a model trained without it gets none of them right either.
        """
        holdout = self.oracle.require_holdout()
        chosen, removed = np.arange(0, len(holdout), 2), self.removed_classes
        return holdout.select(chosen[~np.isin(holdout.y[chosen].numpy(), removed)] if len(removed) else chosen)

    @property
    def removed_classes(self) -> np.ndarray:
        """Classes of which no row is retained."""
        if not self.objective.counted or self.oracle.data.y.ndim > 1:
            return np.empty(0)
        retained = np.delete(self.oracle.data.y.numpy(), self.positions)
        return np.setdiff1d(self.forget.y.numpy(), retained)

    @cached_property
    def estimator(self) -> PoolEstimator:
        """Reads the tuning split's trace.

        Raises:
            ReferencesError: if there are no references.
        """
        if self.references is None:
            raise ReferencesError("this task has no references, so no trace can be read")
        return estimator_for(self.references.thinned, self.parts, self.alpha)

    @property
    def traceable(self) -> bool:
        """Whether any signal of the references reads the request's rows."""
        return self.references is not None and bool(self.estimator.signals)

    def trace(self, model: nn.Module) -> Estimates:
        """The tuning split's residual trace of a model on the forget rows, over all families that the request has."""
        return self.estimator.read(model)

    @cached_property
    def generalisation_gap(self) -> float:
        """By how much the original's utility on retained rows is above that on others; 0 without a holdout."""
        if self.oracle.holdout is None:
            return 0.0
        retained, unseen = (
            reading.utility(self.model, self.objective, rows) for rows in (self.held_back, self.tuning_holdout)
        )
        return max(0.0, self.objective.utility_loss(retained, unseen))

    @cached_property
    def factors(self) -> Ekfac:
        """EKFAC factors of the original's curvature, kept beside the references from the first request on."""
        return kept.factors(self.oracle, self._kept)

    @property
    def factors_kept(self) -> bool:
        """Whether they need not be made any more."""
        return kept.ready(self.oracle, self._kept)

    @property
    def shown(self) -> int:
        """Rows that are read to show a model's losses."""
        return len(self.forget) + len(self.held_back) + (0 if self.oracle.holdout is None else len(self.oracle.holdout))

    def losses(self, model: nn.Module) -> dict[str, float]:
        """Mean losses to show while weights move: forget, retained (held back) and holdout rows."""
        found = {
            "forget": reading.mean_loss(model, self.objective, self.forget),
            "retained": reading.mean_loss(model, self.objective, self.held_back),
        }
        if self.oracle.holdout is not None:
            found["holdout"] = reading.mean_loss(model, self.objective, self.oracle.holdout)
        return found

    def show(self, progress: Progress, model: nn.Module) -> None:
        """Show these losses."""
        progress.show(**self.losses(model))

    @cached_property
    def never_seen_loss(self) -> float:
        """Mean loss of tuning members on those forget rows whose subject they never saw."""
        assert self.references is not None
        total, rows, y = 0.0, 0, self.oracle.data.gather(np.concatenate([part.rows for part in self.parts]))[1]
        for asked, outputs in self.references.never_outputs(self.parts):
            for own in outputs:
                total += float(self.objective.losses(own, y[torch.from_numpy(asked)]).double().sum())
                rows += len(asked)
        return total / rows

    @cached_property
    def predicted_utility(self) -> float | None:
        """What the tuning split predicts for the holdout once the rows are gone; None without references.

        It is the mean over the tuning members that never saw any of the requested subjects, or over all of them where
        fewer than three are so.
        """
        return None if self.references is None else float(self._never_utilities.mean())

    @property
    def _never_utilities(self) -> np.ndarray:
        assert self.references is not None
        keep = self.references.values.keep[:, [part.subject for part in self.parts]]
        never = ~keep.any(1)
        return self.references.utilities[never if never.sum() >= FEWEST_NEVER else slice(None)]

    @property
    def predicted_loss(self) -> float:
        """Utility that goes with the rows: how much worse those members are than all; 0 where they aren't."""
        if self.references is None:
            return 0.0
        every, never = float(self.references.utilities.mean()), float(self._never_utilities.mean())
        return max(0.0, self.objective.utility_loss(every, never))

    @cached_property
    def history(self) -> History | None:
        """The recorded training of the original, if there is one."""
        return None if self.oracle.run is None else History.read(self.oracle.run)

    @cached_property
    def checkpoint(self) -> Checkpoint | None:
        """The newest checkpoint with an optimizer's state that never saw a forget row."""
        if self.history is None or foreign(self.history, self.oracle) or not self.history.whole:
            return None
        whole = [checkpoint for checkpoint in self.history.clean(self.positions) if checkpoint.has_optimizer]
        return whole[-1] if whole else None
