"""The track record of algorithms: traces left and utility lost, in the benchmark's runs and the workspace's cases."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pyarrow import parquet

from neuralyzer.data import batches
from neuralyzer.data.rows import Data
from neuralyzer.influence.curvature import Parameters
from neuralyzer.models import reading
from neuralyzer.trace.left import trace_left
from neuralyzer.unlearning.method import Expectation, Method
from neuralyzer.unlearning.task import Task
from neuralyzer.workspace import atomic

SHIPPED = "track_record.parquet"
PRIOR = 1.0  # weight of the algorithm's own expectation, in runs
NEAR = 1.0  # standard deviation of the kernel by which runs weigh, in units of ``SCALES``
# Differences between situations that count as 1: decades, decades, shares, log ratios, losses, shares.
SCALES = {"parameters": 1.0, "forget_share": 0.5, "concentration": 0.3, "distance": 0.5, "gap": 1.0, "whole": 0.3}
FORGET_ROWS, RETAIN_ROWS = 256, 2000  # largest samples on which the distance is measured


@dataclass(frozen=True)
class Situation:
    """A request described by a few numbers, by which similar requests are found.

    Attributes:
        parameters: decimal logarithm of the number of the model's parameters.
        forget_share: decimal logarithm of the forget rows' share of all rows.
        concentration: share of the forget rows in their most frequent class; 0 where there are no classes.
        distance: natural logarithm of a ratio: the distance of forget rows to their nearest retained row, over that of
            retained rows to theirs.
        gap: mean loss on the forget rows of models that never saw them, minus the model's; None without references.
        whole: share of the forget rows whose class has no retained row; None where an older version did not note it.
    """

    parameters: float
    forget_share: float
    concentration: float
    distance: float
    gap: float | None
    whole: float | None = None

    @classmethod
    def of(cls, task: Task) -> "Situation":
        """Return the situation of a task."""
        loss = reading.mean_loss(task.model, task.objective, task.forget)
        return cls(
            math.log10(max(1, sum(Parameters(task.model).sizes))),
            math.log10(len(task.forget) / len(task.oracle.data)),
            _concentration(task),
            _distance(task.forget, task.retain, task.seed),
            task.never_seen_loss - loss if task.traceable else None,
            float(np.isin(task.forget.y.numpy(), task.removed_classes).mean()) if len(task.removed_classes) else 0.0,
        )

    def apart(self, other: Mapping[str, Any]) -> float:
        """Return the distance to another situation; numbers that either lacks do not count."""
        total = 0.0
        for name, scale in SCALES.items():
            value, others = getattr(self, name), other.get(name)
            if value is not None and others is not None:
                total += ((value - others) / scale) ** 2
        return math.sqrt(total)

    def to_dict(self) -> dict[str, Any]:
        """Return the situation as plain values."""
        return asdict(self)


def _concentration(task: Task) -> float:
    if not task.objective.counted:
        return 0.0
    labels = torch.cat([y for _, y in task.forget.chunks(4096)]).reshape(len(task.forget), -1)[:, 0]
    return float(torch.unique(labels, return_counts=True)[1].max()) / len(task.forget)


def _distance(forget: Data, retain: Data, seed: int) -> float:
    """Return the log ratio of nearest-row distances, in features scaled to unit spread, on samples of both."""
    generator = np.random.default_rng(seed)
    forgotten, retained = (
        batches.table(rows.gather(np.sort(generator.permutation(len(rows))[:most]))[0])
        for rows, most in ((forget, FORGET_ROWS), (retain, RETAIN_ROWS))
    )
    if len(retained) < 2:
        return 0.0
    spread = retained.std(0)
    forgotten, retained = (rows / torch.where(spread > 0, spread, 1.0) for rows in (forgotten, retained))
    some = retained[: min(len(retained), FORGET_ROWS)]
    among = torch.cdist(some, retained)
    among[torch.arange(len(some)), torch.arange(len(some))] = torch.inf
    far, usual = torch.cdist(forgotten, retained).min(1).values.mean(), among.min(1).values.mean()
    return float(torch.log((far + 1e-9) / (usual + 1e-9)))


class Effort(StrEnum):
    """The effort that went into a method's settings."""

    DEFAULT = "default"  # the method's defaults
    WITHIN = "within"  # of a search that was stopped after a tenth of retraining's time
    TUNED = "tuned"  # of a search that had as much time as retraining takes


@dataclass(frozen=True)
class Record:
    """The runs of a track record.

    Attributes:
        runs: one mapping each, with the fields of ``Situation`` and ``method``, ``effort`` (None if unknown),
            ``world``, ``trace``, ``utility_loss``.
    """

    runs: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def shipped(cls, without: Iterable[str] = ()) -> "Record":
        """Return the benchmark's runs that ship with the package.

        Args:
            without: worlds whose runs are left out, such as the one that is being evaluated.

        Returns:
            The record.
        """
        left_out = set(without)
        return cls(tuple(run for run in _shipped() if run["world"] not in left_out))

    def with_cases(self, folder: Path) -> "Record":
        """Return the record with the finished cases of a workspace added.

        Args:
            folder: of cases, one folder each.

        Returns:
            The record.
        """
        runs = []
        for path in sorted(folder.glob("*/result.json")):
            run = _of_case(atomic.read_json(path))
            if run is not None:
                runs.append(run)
        return Record((*self.runs, *runs))

    def expect(self, method: Method, situation: Situation, effort: Effort | None = None) -> tuple[Expectation, float]:
        """Return the trace that a method is expected to leave here, and the utility it costs.

        Runs of the method weigh by how similar their situation is (a normal kernel); the method's own expectation
        counts as one run.

        Args:
            method: the method.
            situation: of the request.
            effort: runs of another effort are left out; none is where this is None.

        Returns:
            The expectation, and the sum of the runs' weights.
        """
        efforts = (None, effort)
        runs = [
            run for run in self.runs if run["method"] == method.name and (effort is None or run["effort"] in efforts)
        ]
        if not runs:
            return method.expected, 0.0
        weights = np.exp(-0.5 * (np.array([situation.apart(run) for run in runs]) / NEAR) ** 2)
        total = float(weights.sum())

        def mean(name: str, prior: float) -> float:
            return float((PRIOR * prior + weights @ np.array([run[name] for run in runs])) / (PRIOR + total))

        return Expectation(
            mean("trace", method.expected.trace), mean("utility_loss", method.expected.utility_loss)
        ), total


@cache
def _shipped() -> tuple[dict[str, Any], ...]:
    path = resources.files("neuralyzer.planning") / SHIPPED
    with resources.as_file(path) as file:
        return tuple(parquet.read_table(file).to_pylist()) if file.exists() else ()


def _of_case(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a case's final attempt as a run; None where it was not measured or its situation not noted."""
    plan, verified = result.get("plan") or {}, result.get("verification") or {}
    situation, members = plan.get("situation"), plan.get("members_utility")
    trace = trace_left(verified.get("families") or ())
    holdout = [values for key, values in result["utility"].items() if key.startswith("holdout_")]
    utility = holdout[0]["unlearned"] if holdout else None
    if situation is None or trace is None or members is None or utility is None:
        return None
    known = {field.name: situation.get(field.name) for field in fields(Situation)}
    method = result["unlearning"]["method"]
    searched = [option.get("searched") for option in plan.get("options", ()) if option["method"] == method]
    return known | {
        "method": method, "effort": Effort.DEFAULT.value if searched == [False] else None, "world": result["case"],
        "trace": trace, "utility_loss": members - utility,
    }  # fmt: skip
