"""The forecast of a pool of references before it is trained: its cost and its power."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from neuralyzer.models.placement import Placement
from neuralyzer.models.trained import TrainedModel
from neuralyzer.references import building
from neuralyzer.references.cost_estimate import CostEstimate, estimate_cost
from neuralyzer.references.pool import DEFAULT_SIZE, References
from neuralyzer.references.storage.store import Store
from neuralyzer.references.training.backends import Backend, Timing, as_backend
from neuralyzer.references.training.processes import Execution, as_engine
from neuralyzer.trace.estimator import null_tables
from neuralyzer.trace.power import DIGITS, Formula, refit
from neuralyzer.workspace.paths import Workspace, as_workspace

SUBJECTS = {"smallest": 0.0, "lower quarter": 0.25, "median": 0.5, "upper quarter": 0.75, "largest": 1.0}
REQUEST = 0.2  # seconds of unlearning, repair and verdict over those of retraining: influence on the demo's digits


@dataclass(frozen=True)
class Forecast:
    """The cost and the power of a pool.

    Attributes:
        size: members of both splits.
        untrained: number of members to be trained.
        seconds: of training and reading the missing members; None if unknown.
        disk_bytes: peak on the disk, weights included until they are destroyed.
        memory_bytes: peak in memory, besides what the process already uses.
        power: by subject size, ``{"subject", "rows", "power"}``: probability that an original's whole trace is found.
        pays_after: number of requests after which the pool is cheaper than retraining for each; None if unknown.
        retrain_seconds: of one retraining; None if unknown.
        refitted: whether the power is fitted to this model's references, not to those of the digits.
        formula: the planning formula.
        timing: of the backends, so that ``References.fit`` need not time them again.
    """

    size: int
    untrained: int
    seconds: float | None
    disk_bytes: int
    memory_bytes: int
    power: tuple[dict[str, Any], ...]
    pays_after: int | None
    retrain_seconds: float | None
    refitted: bool
    formula: Formula
    timing: Timing | None

    @property
    def hours(self) -> float | None:
        """Return ``seconds`` in hours."""
        return None if self.seconds is None else self.seconds / 3600

    def to_dict(self) -> dict[str, Any]:
        """Return the forecast as plain values."""
        return {
            "size": self.size, "untrained": self.untrained, "seconds": self.seconds, "hours": self.hours,
            "disk_bytes": self.disk_bytes, "memory_bytes": self.memory_bytes, "power": list(self.power),
            "pays_after": self.pays_after, "retrain_seconds": self.retrain_seconds, "refitted": self.refitted,
            "formula": self.formula.to_dict(), "backend": None if self.timing is None else self.timing.why,
        }  # fmt: skip

    def __rich__(self) -> RenderableType:
        table = RichTable(box=None, pad_edge=False)
        for name in ("subject", "rows", "power"):
            table.add_column(name, justify="left" if name == "subject" else "right")
        for line in self.power:
            table.add_row(line["subject"], f"{line['rows']:,}", f"{100 * line['power']:.0f} %")
        source = "these references'" if self.refitted else "the digits' (no references of this model yet)"
        pays = (
            "nobody knows after how many requests it pays"
            if self.pays_after is None
            else f"pays after {self.pays_after} requests, against retraining for each"
        )
        took = "" if self.retrain_seconds is None else f" ({duration(self.retrain_seconds)} each)"
        return Group(
            Text(f"{self.size} references, {self.untrained} of them to be trained", style="bold"),
            Text(
                f"takes {duration(self.seconds)}, {amount(self.disk_bytes)} on the disk, {amount(self.memory_bytes)} of "
                f"memory; {pays}{took}"
            ),
            Text(f"how likely an original's whole trace is found, by {source} figures:"),
            table,
        )


def forecast(
    oracle: TrainedModel,
    size: int = DEFAULT_SIZE,
    leave_out: float | None = None,
    groups: Sequence[str] = (),
    workspace: Workspace | Path | str | None = None,
    *,
    backend: Backend | str | None = None,
    seed: int = 10_000,
    alpha: float = 0.05,
    retrain_seconds: float | None = None,
    device: str | None = None,
    engine: str | None = None,
    signals: Sequence[str] = (),
) -> Forecast:
    """Return the forecast for ``References.fit`` with the same arguments; nothing is trained and nothing written.

    Args:
        oracle: the model.
        size: members of both splits together.
        leave_out: share of the subjects that each member leaves out.
        groups: kinds of rows that are subjects too.
        workspace: may have a pool, to whose tuning split the power is then fitted.
        backend: that trains members; by default the faster one.
        seed: of the design.
        alpha: error rate of the joint test.
        retrain_seconds: that the model's own training took, if known.
        device: on which members are trained; by default the GPU if there is one.
        engine: of the worker processes.
        signals: optional signals by which they are read too.

    Returns:
        The forecast.
    """
    oracle.require_holdout()
    plan = building.Plan(
        size,
        leave_out,
        tuple(groups),
        as_backend(backend),
        seed,
        False,
        execution=Execution(Placement.of(device), as_engine(engine)),
        signals=tuple(signals),
    )
    place = Path() if workspace is None else as_workspace(workspace).references
    store = Store(building.folder_of(place, oracle, groups))
    work = estimate_cost(store, oracle, plan, retrain_seconds)
    formula = _formula(store, oracle, alpha)
    total = max(size, int(store.read_head()["size"]) if store.head.exists() else 0)
    quantiles = {name: int(np.quantile(work.rows, at, method="nearest")) for name, at in SUBJECTS.items()}
    power = tuple(
        {"subject": name, "rows": rows, "power": formula.power(rows, total // 2, share=work.share)}
        for name, rows in quantiles.items()
    )
    return Forecast(
        total, work.untrained, _seconds(work, work.untrained, work.unread), work.disk, work.memory, power,
        _pays_after(work, total), work.retrain, formula.refitted, formula, work.timing,
    )  # fmt: skip


def _formula(store: Store, oracle: TrainedModel, alpha: float) -> Formula:
    """Return the formula fitted to the existing pool if it is finished, else that of the digits."""
    if not (store.head.exists() and store.read_head()["finished"]):
        return DIGITS
    return refit(null_tables(References.open(store.root, oracle).tuning.values, alpha), alpha) or DIGITS


def _seconds(work: CostEstimate, trained: int, read: int) -> float | None:
    if trained and work.train is None:
        return None
    return trained * (work.train or 0.0) + read * work.read


def _pays_after(work: CostEstimate, size: int) -> int | None:
    """Return the seconds of the whole pool divided by those that each request then saves."""
    whole = _seconds(work, size, size)
    if whole is None or not work.retrain:
        return None
    return math.ceil(whole / ((1 - REQUEST) * work.retrain))


def duration(seconds: float | None) -> str:
    """Return seconds in a readable unit."""
    if seconds is None:
        return "a time that nobody knows"
    for unit, name in ((3600, "hours"), (60, "minutes")):
        if seconds >= 1.5 * unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def amount(count: int) -> str:
    """Return bytes in a readable unit."""
    for unit, name in ((10**9, "GB"), (10**6, "MB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count / 1000:.0f} kB"
