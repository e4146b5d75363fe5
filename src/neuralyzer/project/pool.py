"""The making of a project's reference pool, as ``[references]`` of the project file describes it."""

from dataclasses import dataclass
from typing import Any

from neuralyzer.influence import kept
from neuralyzer.models.trained import TrainedModel
from neuralyzer.planning.forecast import Forecast, forecast
from neuralyzer.progress import Progress
from neuralyzer.project.project import Project
from neuralyzer.references.building import folder_of
from neuralyzer.references.pool import DEFAULT_SIZE, References
from neuralyzer.references.storage.store import Store
from neuralyzer.references.training.backends import Timing


@dataclass(frozen=True)
class PoolPlan:
    """How a pool is made.

    Attributes:
        project: whose ``[references]`` describe it.
        oracle: the model that it is for.
        asked: members of both splits; None takes the project's number.
        on: device in place of the project's.
    """

    project: Project
    oracle: TrainedModel
    asked: int | None = None
    on: str | None = None

    @property
    def forecast(self) -> Forecast:
        """Return what it takes and what it buys; backends are timed where the project names none."""
        return forecast(
            self.oracle, *self._design, self.project.workspace, alpha=self.project.workspace.policy.alpha,
            retrain_seconds=self.project.training_seconds, **self._given("backend", "engine"),
        )  # fmt: skip

    def make(self, progress: Progress, timing: Timing | None = None, unchecked: bool = False) -> References:
        """Make, finish or grow the pool, with the curvature factors by which a request costs only a solve.

        Args:
            progress: shown the work.
            timing: of the backends, where a forecast has made it already.
            unchecked: train members though the recipe may not give this model.

        Returns:
            The pool.

        Raises:
            ReferencesError: if a pool there has another design, or the recipe does not reproduce the model.
            UsageError: if the project names what there is not.
        """
        pool = References.fit(
            self.oracle, *self._design, self.project.workspace, progress=progress, timing=timing, unchecked=unchecked,
            keep_weights=self._table.get("keep_weights", False), **self._given("backend", "engine", "precision"),
        )  # fmt: skip
        if kept.possible(self.oracle):
            kept.factors(self.oracle, pool.store.curvature)
        return pool

    @property
    def missing(self) -> bool:
        """Return whether no pool of this model's lineage was begun, or its own is not finished."""
        folder = self.project.pool_folder(self.oracle)
        if folder is None:
            return False
        store, own = Store(folder), folder_of(self.project.workspace.references, self.oracle, self._design[2])
        return not store.head.exists() or (folder == own and not store.read_head()["finished"])

    @property
    def _table(self) -> dict[str, Any]:
        return self.project.tables.get("references", {})

    @property
    def _design(self) -> tuple[int, float | None, tuple[str, ...]]:
        table = self._table
        return self.asked or table.get("size", DEFAULT_SIZE), table.get("leave_out"), tuple(table.get("groups", ()))

    def _given(self, *names: str) -> dict[str, Any]:
        given = {name: self._table.get(name) for name in names}
        return given | {"device": self.project.device(self.on), "signals": self._table.get("signals", ())}
