"""Predicted seconds: a few real batches of this model timed on this machine, times an algorithm's passes."""

import time
from collections.abc import Callable
from dataclasses import astuple, dataclass

import numpy as np
import torch

from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError
from neuralyzer.influence import kept
from neuralyzer.influence.curvature import GaussNewton, Parameters, mean_gradient
from neuralyzer.influence.diagonal import importances
from neuralyzer.influence.ekfac import Ekfac, ekfac
from neuralyzer.models import reading, training, weights
from neuralyzer.models.kinds.kind import Capability
from neuralyzer.models.reading import GRADIENT_CHUNK
from neuralyzer.unlearning import last_layers
from neuralyzer.unlearning.method import Passes
from neuralyzer.unlearning.task import Task

PROBED_STEPS = 60
PROBED_ROWS = (256, 2048)  # fewer where these take long
SAMPLED = (64, 384)  # rows
REPEATS = 3
ENOUGH = 0.25  # seconds that are spent on timing one kind of work: what takes long is timed well by one run


@dataclass(frozen=True)
class Rates:
    """Seconds of each kind of work on this machine, in the order of ``Passes``.

    Attributes:
        step: a training step of one batch.
        partial: a training step where the last layer alone is trained.
        gradient: a row's part in a gradient over many rows.
        single: a gradient of one row's loss among many.
        product: a row's part in a product with the curvature.
        solve: what a step of a linear solve takes beside: a product with one row, and those with the factors.
        factoring: a making of the curvature's factors; 0 where they are kept.
        forward: a row read among many.
        reading: one reading of the tuning split's trace.
    """

    step: float
    partial: float
    gradient: float
    single: float
    product: float
    solve: float
    factoring: float
    forward: float
    reading: float

    def seconds(self, passes: Passes) -> float:
        """What the passes will take; a rate that is infinite counts where there is such work."""
        both = zip(astuple(passes), astuple(self), strict=True)
        return float(sum(work * rate for work, rate in both if work))


def probe(task: Task) -> Rates:
    """Time each kind of work; the model is not changed."""
    recipe, objective = task.oracle.recipe, task.objective
    # A copy: what a model at hand reads is known after the first time, and would be timed as nothing.
    trace_seconds = _seconds(lambda: task.trace(weights.clone(task.model))) if task.traceable else 0.0
    if not task.capabilities >= {Capability.GRADIENTS, Capability.ROW_GRADIENTS, Capability.CONTINUED}:
        return _without_gradients(task, trace_seconds)
    rows = _probed_rows(task)
    parameters, few = Parameters(task.model), rows.select(np.arange(min(len(rows), 2 * GRADIENT_CHUNK)))
    vector = torch.ones(sum(parameters.sizes))
    product = solve = factoring = float("inf")
    if Capability.CURVATURE in task.capabilities:
        curvature = GaussNewton(task.model, objective, rows)
        one_row = GaussNewton(task.model, objective, rows.select(np.array([0])))
        factoring, factors = (0.0, task.factors) if task.factors_kept else _factored(task)

        def solved() -> None:
            one_row @ vector
            if factors is not None:
                factors.solve(parameters, factors.product(parameters, vector), factors.largest)

        product, solve = _seconds(lambda: curvature @ vector) / len(rows), _seconds(solved)
    step = _step_seconds(task) if recipe.stepwise else _own_step_seconds(task)
    return Rates(
        step=step,
        partial=min(step, _step_seconds(task, last_layers.chosen(task, 1))),
        gradient=_seconds(lambda: mean_gradient(task.model, objective, rows)) / len(rows),
        single=_seconds(lambda: importances(task.model, objective, few)) / len(few),
        product=product,
        solve=solve,
        factoring=factoring,
        forward=_seconds(lambda: reading.outputs(task.model, objective, rows.x)) / len(rows),
        reading=trace_seconds,
    )


def _without_gradients(task: Task, trace_seconds: float) -> Rates:
    """Rates of a model that can be trained anew and read: whatever needs more takes for ever."""
    rows, never = task.retain.select(np.arange(min(PROBED_ROWS[0], len(task.retain)))), float("inf")
    forward = _seconds(lambda: reading.outputs(task.model, task.objective, rows.x)) / len(rows)
    return Rates(_own_step_seconds(task), never, never, never, never, never, never, forward, trace_seconds)


def _probed_rows(task: Task) -> Data:
    """As many retained rows as a gradient takes a part of ``ENOUGH`` for, within ``PROBED_ROWS``."""
    fewest, most = (min(len(task.retain), count) for count in PROBED_ROWS)
    few = task.retain.select(np.arange(fewest))
    taken = _seconds(lambda: mean_gradient(task.model, task.objective, few))
    count = int(np.clip(fewest * ENOUGH / (REPEATS + 1) / taken, fewest, most))
    return task.retain.select(np.arange(count))


def _factored(task: Task) -> tuple[float, Ekfac | None]:
    """What making all factors will take, told from two small samples, and the second's, as dear to use as all rows'.

    Eigenvectors cost the same whatever the rows, and on a small network more than these; which is why there are two.

    Returns:
        Seconds and factors; infinite and None where no layer has any.
    """
    data, times = task.oracle.data, []
    all_rows = min(kept.ROWS, len(data))
    sizes = [min(size, all_rows) for size in SAMPLED]
    try:
        for size in sizes:
            began = time.perf_counter()
            factors = ekfac(task.model, task.objective, data.select(np.arange(size)))
            times.append(time.perf_counter() - began)
    except UsageError:
        return float("inf"), None
    row = max(0.0, times[1] - times[0]) / max(1, sizes[1] - sizes[0])
    return times[1] + row * (all_rows - sizes[1]), factors


def _step_seconds(task: Task, learning: list[str] | None = None) -> float:
    """Of all parameters, or of those that are named alone."""
    recipe = task.oracle.recipe
    module = weights.clone(task.model)
    optimizer = recipe.optimizer(training.trainable(module))  # of all: its groups may count on them
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and (learning is None or name in learning))
    epochs = 1 + PROBED_STEPS * recipe.batch_size // len(task.retain)
    steps = iter(list(training.order(len(task.retain), epochs, recipe.batch_size, 0))[:PROBED_STEPS])
    taken = training.run_steps(recipe, module, optimizer, task.retain, steps, 0)
    times = []
    began = time.perf_counter()
    for _ in taken:
        times.append(time.perf_counter() - began)
        if len(times) > REPEATS and sum(times) > ENOUGH:
            break
        began = time.perf_counter()
    return float(np.median(times))


def _own_step_seconds(task: Task) -> float:
    """The user's own training code, by what the original's training took; infinite where nobody knows."""
    if task.oracle.seconds is None:
        return float("inf")
    return task.oracle.seconds / training.steps_of(task.oracle.recipe, len(task.oracle.data))


def _seconds(work: Callable[[], object]) -> float:
    """The median of a few runs after the first, which warms up; of fewer where they take long."""
    times = list[float]()
    while len(times) <= REPEATS and sum(times) < ENOUGH:
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return float(np.median(times[1:] or times))
