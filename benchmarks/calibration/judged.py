"""Each model under test of a world, judged as the product would: a line a model and half."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.calibration.models import Cached, Made
from benchmarks.calibration.worlds import Request
from neuralyzer.data.request import ErasureRequest
from neuralyzer.references.measurement.split import ReferenceSplit
from neuralyzer.trace.estimator import TraceEstimator
from neuralyzer.trace.group_estimator import estimator_for
from neuralyzer.trace.null_table import Null
from neuralyzer.trace.self_check import SelfCheck
from neuralyzer.trace.verdict import FIRST_ACCESS, counting, decide
from neuralyzer.verification.audit import required
from neuralyzer.verification.controls import Controls, groups_of, original_control
from neuralyzer.workspace.policy import Policy

ALPHA = 0.05
SCALES = (0.7, 1.3)


class Court:
    """A request's two gauges and its protocol.

    Args:
        made: the world's models.
        request: whose rows.
    """

    def __init__(self, made: Made, request: Request) -> None:
        self.made, self.request = made, request
        self._negative: dict[tuple[str, tuple[str, ...]], SelfCheck] = {}
        parts = made.references.parts(ErasureRequest(subjects=request).positions(made.world.data))
        self.rows = sum(len(part.rows) for part in parts)
        splits: dict[str, ReferenceSplit] = {"tuning": made.references.tuning, "judging": made.references.evaluation}
        self.estimators = {name: estimator_for(split, parts, ALPHA, FIRST_ACCESS) for name, split in splits.items()}
        self.declaring = {name: estimator_for(split, parts, ALPHA) for name, split in splits.items()}
        self.positive = {name: original_control(made.references, made.oracle, parts, ALPHA, name) for name in splits}

    def judge(self, split: str, readings: Cached, original: Cached) -> dict[str, Any]:
        """A model's line, with the verdict that the protocol of the original leads to.

        Args:
            half: that judges; the other one audits the original.
            readings: of the model under test.
            original: of the original.

        Returns:
            The line.
        """
        estimator, declaring = self.estimators[split], self.declaring["tuning" if split == "judging" else "judging"]
        audited = declaring.estimate(original)
        counts = counting(audited.detectable)
        found_it = declaring.estimate(original, counts).rejects
        every = estimator.estimate(readings)
        taken = estimator.estimate(readings, counts)
        assert every.joint is not None and taken.joint is not None
        if (split, counts) not in self._negative:
            self._negative[split, counts] = estimator.self_check(taken.joint.signals, groups_of(self.made.references))
        controls = Controls(self._negative[split, counts], self.positive[split])
        verdict = decide(
            rejects=taken.rejects, original_rejected=found_it, detectable=controls.corrected(taken.detectable),
            counts=[name for name in estimator.signals if name in counts], required=required(estimator),
            max_trace=Policy().max_trace, alarmed=controls.alarmed, missed=controls.missed,
        )  # fmt: skip
        return {
            "rows": self.rows, "rejects": every.rejects, "p": every.joint.p_value, "verdict": str(verdict),
            "rejects_counting": taken.rejects, "z": every.joint.statistic / every.joint.critical,
            "traces": {
                name: {"trace": t.trace, "low": t.low, "high": t.high, "detectable": t.detectable}
                for name, t in every.traces.items()
            },
        }  # fmt: skip

    def carried(self, rows: np.ndarray) -> dict[str, float]:
        """The part of the trace that some of the request's rows carry, as the tuning split weighs them, by signal.

        A few unusual rows carry most of a subject's trace, so a quarter of the rows is not a quarter of it.
        """
        estimator, found = self.estimators["tuning"], {}
        for name in estimator.signals:
            weight = [(null.gap.weights * null.moments.spread) ** 2 for null in self._nulls(estimator, name)]
            kept = [np.isin(part.rows, rows) for part in estimator.parts]
            found[name] = float(np.concatenate(weight)[np.concatenate(kept)].sum() / np.concatenate(weight).sum())
        return found

    @staticmethod
    def _nulls(estimator: TraceEstimator, name: str) -> list[Null]:
        return estimator.tables[name].parts_null(estimator.parts)


def lines(made: Made, kinds: tuple[str, ...], splits: tuple[str, ...] = ("judging",)) -> Iterator[dict[str, Any]]:
    """A line for every request, model of the kinds and half."""
    evaluator = made.references.evaluation
    rows = {job.path: job.rows for job in made.jobs()}
    for request in made.world.requests:
        court = Court(made, request)
        first = made.readings(evaluator, request, made.pool / "oracle.safetensors")
        for kind in kinds:
            for path in made.paths(request, kind):
                own = made.readings(evaluator, request, path)
                for split in splits:
                    yield {
                        "world": made.world.name, "request": "+".join(request), "kind": kind, "model": path.stem,
                        "half": split, **court.judge(split, own, first),
                        **({"truth": court.carried(rows[path])} if kind.startswith("share") else {}),
                    }  # fmt: skip


def rescaled(made: Made, scale: float) -> Iterator[dict[str, Any]]:
    """Two retrained models a request whose logits are multiplied by ``scale``."""
    evaluator = made.references.evaluation
    for request in made.world.requests:
        court = Court(made, request)
        first = made.readings(evaluator, request, made.pool / "oracle.safetensors")
        for path in made.paths(request, "retrained")[:2]:
            name = Path(path.parent, f"{path.stem}-x{scale}.safetensors")
            own = made.readings(evaluator, request, name, scaled(made.load(path), scale))
            line = court.judge("judging", own, first)
            yield {"world": made.world.name, "request": "+".join(request), "half": "judging", "model": path.stem} | line


def scaled(module: nn.Module, scale: float) -> nn.Module:
    """A copy whose last layer, and so its logits, is ``scale`` times as large."""
    module = copy.deepcopy(module)
    last = [layer for layer in module.modules() if isinstance(layer, nn.Linear)][-1]
    with torch.no_grad():
        last.weight.mul_(scale)
        last.bias.mul_(scale)
    return module
