"""What is said of every model alike: traces on the evaluation split, accuracies, gap and KLoM against retrained models."""

from typing import Any

import numpy as np
from torch import nn

from benchmarks.methods.worlds import World
from neuralyzer.models import reading
from neuralyzer.signals.margin import margins
from neuralyzer.signals.signal import Batch
from neuralyzer.trace.estimator import TraceEstimator
from neuralyzer.unlearning.task import Task

ALPHA = 0.05
MOST = 12.0  # a row's divergence, as in the paper
TOP = 95  # percentile over the forget rows


class Judge:
    """Judges models of one scenario. Retrained models are made for it, and no algorithm ever sees them.

    Args:
        world: gives pool and retrained models.
        scenario: one of its requests.
    """

    def __init__(self, world: World, scenario: str) -> None:
        self.world, oracle, pool = world, world.oracle, world.references
        self.task = Task(oracle, world.request(scenario), pool, ALPHA)
        self.test = world.holdout.select(np.arange(1, len(world.holdout), 2))  # tuners read the other half
        self.estimator = TraceEstimator(pool.evaluation, self.task.parts, ALPHA)
        self.rows = Batch(self.task.forget.x, self.task.forget.y)
        self.context = pool.evaluation.evaluator.context
        models = world.retrained(scenario)
        self.margins = np.stack([self._margins(model) for model in models])
        self.accuracies = np.array([self._accuracies(model) for model in models])
        self.retrained = [
            self.judge(model, [n for n in range(len(models)) if n != k]) for k, model in enumerate(models)
        ]

    def _margins(self, model: nn.Module) -> np.ndarray:
        return margins(model, self.rows, self.context).double().numpy()

    def _accuracies(self, model: nn.Module) -> list[float]:
        sets = (self.task.forget, self.task.retain, self.test)
        return [reading.utility(model, self.task.objective, rows) for rows in sets]

    def judge(self, model: nn.Module, against: list[int] | None = None) -> dict[str, Any]:
        """All figures of a model.

        Args:
            model: to be judged.
            against: numbers of the retrained models that it is held against; all where None.

        Returns:
            ``traces`` by signal with ``low`` and ``high``, ``worst`` (largest ``|trace|``), ``rejects``; ``forget``,
            ``retain`` and ``test`` accuracy, ``gap`` (mean distance of these to the retrained models' mean, in points);
            ``klom`` (nats); ``utility_loss`` as a case states it, on the whole holdout, half of which a tuner reads.
        """
        chosen = list(range(len(self.margins))) if against is None else against
        found = self.estimator.read(model)
        traces = {name: {"trace": own.trace, "low": own.low, "high": own.high} for name, own in found.traces.items()}
        own = np.array(self._accuracies(model))
        gap = 100 * float(np.abs(own - self.accuracies[chosen].mean(0)).mean())
        utility = reading.utility(model, self.task.objective, self.world.holdout)
        predicted = self.task.predicted_utility
        assert predicted is not None
        return {
            "traces": traces, "worst": max((abs(one["trace"]) for one in traces.values()), default=0.0),
            "rejects": found.rejects, "forget": own[0], "retain": own[1], "test": own[2], "gap": gap,
            "klom": klom(self._margins(model), self.margins[chosen]),
            "utility_loss": self.task.objective.utility_loss(predicted, utility),
        }  # fmt: skip

    def spread(self) -> dict[str, Any]:
        """What retrained models show, each held against the others: the noise under every figure."""
        every = self.retrained
        signals = every[0]["traces"]
        return {
            "models": len(every),
            "traces": {
                name: {
                    "low": min(one["traces"][name]["trace"] for one in every),
                    "high": max(one["traces"][name]["trace"] for one in every),
                }
                for name in signals
            },
            "worst": [one["worst"] for one in every], "rejects": [one["rejects"] for one in every],
            **{key: float(np.mean([one[key] for one in every])) for key in ("forget", "retain", "test")},
            "gap": [one["gap"] for one in every], "klom": [one["klom"] for one in every],
        }  # fmt: skip


def klom(own: np.ndarray, retrained: np.ndarray) -> float:
    """KL divergence of margins (Georgiev et al. 2024, arXiv 2410.23232), for one model against a few retrained ones.

    The paper compares histograms of a hundred models on both sides. With one model and few retrained ones each side is
    taken to be normal with the same variance, so that a row's divergence is ``(m - mean)^2 / (2 s^2)``; ``s^2`` is half
    the row's own and half that of all rows, since eight models say little of one row's.

    Args:
        own: margins ``(F,)``.
        retrained: of each of K retrained models ``(K, F)``.

    Returns:
        The 95th percentile over the rows, each at most 12, in nats.
    """
    variance = retrained.var(0, ddof=1)
    shared = (variance + variance.mean()) / 2
    each = (own - retrained.mean(0)) ** 2 / (2 * np.maximum(shared, 1e-12) * (1 + 1 / len(retrained)))
    return float(np.percentile(np.minimum(each, MOST), TOP))
