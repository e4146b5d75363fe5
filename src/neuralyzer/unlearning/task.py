"""``Task``: all that an unlearning algorithm is given; nothing of the evaluation split is in it."""

import copy
import math
import time
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from neuralyzer import _moved
from neuralyzer.data.request import ErasureRequest
from neuralyzer.data.rows import Data
from neuralyzer.errors import ReferencesError
from neuralyzer.influence import kept
from neuralyzer.influence.ekfac import Ekfac
from neuralyzer.models import reading
from neuralyzer.models.capabilities import Capability
from neuralyzer.models.objective import Objective, of_texts
from neuralyzer.models.placement import CPU, Placement
from neuralyzer.models.trained import TrainedModel
from neuralyzer.progress import Progress
from neuralyzer.references.measurement.split import ReferenceSplit
from neuralyzer.references.pool import References
from neuralyzer.registry.history import Checkpoint, History, foreign
from neuralyzer.trace.estimator import Estimates, PoolEstimator
from neuralyzer.trace.group_estimator import estimator_for
from neuralyzer.unlearning import never_seen
from neuralyzer.unlearning.training_audit import TrainingAudit

# All were chosen, not tuned.
HELD_BACK = 0.1  # share of the retained rows on which no repair trains and by which it stops
MOST_HELD_BACK = 1000  # rows that are held back at most
SHOWN_TEXTS = 32  # of each kind of rows whose losses are shown

if not TYPE_CHECKING:
    __getattr__ = _moved.old_names(__name__, {"FEWEST_NEVER": "neuralyzer.unlearning.never_seen.FEWEST_NEVER"})


class Task:
    """A model, a request, and the tuning split of the references.

    Args:
        oracle: the original model; never changed.
        request: names the rows to forget.
        references: a pool, of which only the tuning split is kept here; None where there is none.
        alpha: error rate of the tuning split's joint test.
        seed: of all random draws of the algorithm.
        placement: device and precision of whole trainings; all else is on the CPU.

    Attributes:
        references: the tuning split, or None.
        positions: of the forget rows among the oracle's data, ``(F,)``.
        training_audit: record of the rows that exact algorithms train on.
        tried: settings that a tuner tried, with the tuning split's result for each.
    """

    witness = _moved.OldAttribute("training_audit")
    late = _moved.OldAttribute("time_is_up")
    outside = _moved.OldAttribute("tuning_holdout")
    gone = _moved.OldAttribute("removed_classes")

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
        self._factors_path = None if references is None else references.store.curvature
        self.start(request.budget)

    def start(self, seconds: float | None) -> None:
        """Start an algorithm's time limit now; that of the request's budget started when the task was made.

        Args:
            seconds: the time limit; None for no limit.
        """
        self._ends = math.inf if seconds is None else time.perf_counter() + seconds

    @property
    def limited(self) -> bool:
        """Whether the time is limited."""
        return math.isfinite(self._ends)

    @property
    def time_is_up(self) -> bool:
        """Whether the time limit is reached: an algorithm then stops and returns the best model so far."""
        return time.perf_counter() > self._ends

    def going_on_from(self, module: nn.Module) -> "Task":
        """Return this task with another initial model, for an algorithm that continues from another's result.

        It shares the time limit, the tuning split and the record of trials; the curvature stays that of the original.

        Args:
            module: the initial model.

        Returns:
            The task.
        """
        if module is self.model:
            return self
        other, factors = copy.copy(self), self.factors if "factors" in self.__dict__ else None
        other.__dict__.pop("factors", None)
        other.oracle, other._factors_path = replace(self.oracle, model=module), None
        if factors is not None:
            other.__dict__["factors"] = factors
        return other

    def part(self, positions: np.ndarray) -> "Task":
        """Return this task for some of the forget rows; the retained rows stay those without any row of the request.

        Args:
            positions: of these forget rows among the oracle's data.

        Returns:
            The task.
        """
        task = copy.copy(self)
        for name in ("forget", "_shown", "estimator", "never_seen_loss", "predicted_utility"):
            task.__dict__.pop(name, None)
        task.__dict__["retain"] = self.retain
        task.positions = np.sort(positions)
        masks = [(part, np.isin(part.rows, positions)) for part in self.parts]
        task.parts = [replace(part, rows=part.rows[mask]) for part, mask in masks if mask.any()]
        return task

    @property
    def model(self) -> nn.Module:
        """The original model."""
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
        """Positions of the retained rows that repair trains on, and of those held back."""
        count = len(self.retain)
        order = np.random.default_rng(self.seed).permutation(count)
        back = min(int(HELD_BACK * count), MOST_HELD_BACK)
        return np.sort(order[back:]), np.sort(order[:back])

    @cached_property
    def repairing(self) -> Data:
        """Retained rows that repair trains on."""
        return self.retain.select(self._split[0])

    @cached_property
    def held_back(self) -> Data:
        """Retained rows that repair does not train on, by whose loss it stops."""
        return self.retain.select(self._split[1])

    @cached_property
    def tuning_holdout(self) -> Data:
        """Every other holdout row, on which a tuner reads utility.

        Rows of removed classes are left out: a model trained without the class gets none of them right either.
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
        """The trace estimator of the tuning split.

        Raises:
            ReferencesError: if there are no references.
        """
        if self.references is None:
            raise ReferencesError("this task has no references, so no trace can be read")
        return estimator_for(self.references.thinned, self.parts, self.alpha)

    @property
    def traceable(self) -> bool:
        """Whether any signal of the references can be measured on the request's rows."""
        return self.references is not None and bool(self.estimator.signals)

    def trace(self, model: nn.Module) -> Estimates:
        """Return the residual trace of a model on the forget rows by the tuning split, over all families."""
        return self.estimator.read(model)

    @cached_property
    def factors(self) -> Ekfac:
        """EKFAC factors of the original's curvature, read from beside the references or computed and kept there."""
        return kept.factors(self.oracle, self._factors_path)

    @property
    def factors_kept(self) -> bool:
        """Whether the factors were computed before, so that they are only read."""
        return kept.ready(self.oracle, self._factors_path)

    @property
    def shown(self) -> int:
        """Number of rows that are read to show a model's losses."""
        return sum(len(rows) for rows in self._shown.values())

    @cached_property
    def _shown(self) -> dict[str, Data]:
        """Rows whose mean losses are shown; of texts, which take long to read, a few of each."""
        rows = {"forget": self.forget, "retained": self.held_back}
        if self.oracle.holdout is not None:
            rows["holdout"] = self.oracle.holdout
        if of_texts(self.objective):
            rows = {name: own.select(np.arange(min(len(own), SHOWN_TEXTS))) for name, own in rows.items()}
        return rows

    def losses(self, model: nn.Module) -> dict[str, float]:
        """Return mean losses of a model to show: on forget, retained (held back) and holdout rows."""
        return {name: reading.mean_loss(model, self.objective, rows) for name, rows in self._shown.items()}

    def show(self, progress: Progress, model: nn.Module) -> None:
        """Show a model's mean losses."""
        progress.show(**self.losses(model))

    @cached_property
    def never_seen_loss(self) -> float:
        """Mean loss of tuning members on those forget rows whose subject they never saw."""
        assert self.references is not None
        return never_seen.mean_loss(self.references, self.parts, self.oracle.data, self.objective)

    @cached_property
    def predicted_utility(self) -> float | None:
        """Predicted holdout utility of a model without the rows (``never_seen.utilities``); None without references."""
        return None if self.references is None else float(never_seen.utilities(self.references, self.parts).mean())

    @property
    def predicted_loss(self) -> float:
        """Predicted loss of utility from removing the rows, at least 0: that of never-seen members against all."""
        if self.references is None:
            return 0.0
        every, never = self.references.utilities, never_seen.utilities(self.references, self.parts)
        return max(0.0, self.objective.utility_loss(float(every.mean()), float(never.mean())))

    @cached_property
    def history(self) -> History | None:
        """The recorded training of the original, if there is one."""
        return None if self.oracle.run is None else History.read(self.oracle.run)

    @cached_property
    def checkpoint(self) -> Checkpoint | None:
        """The newest checkpoint with an optimizer's state that never saw a forget row."""
        if self.history is None or foreign(self.history, self.oracle) or not self.history.whole:
            return None
        clean = [checkpoint for checkpoint in self.history.clean(self.positions) if checkpoint.has_optimizer]
        return clean[-1] if clean else None
