"""The predicted duration of an algorithm: each kind of work is timed on this machine and multiplied by its amount."""

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
from neuralyzer.models.capabilities import Capability
from neuralyzer.models.reading import GRADIENT_CHUNK
from neuralyzer.unlearning import last_layers
from neuralyzer.unlearning.method import Passes
from neuralyzer.unlearning.task import Task

# All were chosen, not tuned: they limit the time that is spent on timing.
PROBED_STEPS = 60  # most training steps that are timed
PROBED_ROWS = (256, 2048)  # fewest and most rows of the work that is timed by row
SAMPLED = (64, 384)  # rows of the two samples from which the time of all factors is extrapolated
REPEATS = 3  # timed runs after the first
ENOUGH = 0.25  # seconds of timing after which no further run is started: long work is timed well by one run


@dataclass(frozen=True)
class Rates:
    """Seconds of each kind of work on this machine, in the order of ``Passes``.

    Attributes:
        step: of a training step of one batch.
        partial: of a training step where the last layer alone is trained.
        gradient: of a gradient over many rows, for each row.
        single: of a per-row gradient, for each row.
        product: of a product with the curvature, for each row.
        solve: of a step of a linear solve besides ``product``: a product over one row, and products with the factors.
        factoring: of computing the EKFAC factors; 0 where they are kept.
        forward: of a forward pass, for each row.
        reading: of one reading of the residual trace on the tuning split.
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
        """Return the predicted seconds of some work; an infinite rate counts only where there is work of its kind."""
        pairs = zip(astuple(passes), astuple(self), strict=True)
        return float(sum(work * rate for work, rate in pairs if work))


def probe(task: Task) -> Rates:
    """Time each kind of work and return the rates; the model is not changed."""
    recipe, objective = task.oracle.recipe, task.objective
    # A copy is read, since readings of the same model are cached and would be timed as nothing.
    trace_seconds = _seconds(lambda: task.trace(weights.clone(task.model))) if task.traceable else 0.0
    if not task.capabilities >= {Capability.GRADIENTS, Capability.CONTINUED}:
        return _without_gradients(task, trace_seconds)
    rows = _probed_rows(task)
    parameters, few = Parameters(task.model), rows.select(np.arange(min(len(rows), 2 * GRADIENT_CHUNK)))
    vector = torch.ones(sum(parameters.sizes))
    product = solve = factoring = single = float("inf")
    if Capability.ROW_GRADIENTS in task.capabilities:
        single = _seconds(lambda: importances(task.model, objective, few)) / len(few)
    if Capability.CURVATURE in task.capabilities:
        curvature = GaussNewton(task.model, objective, rows)
        one_row = GaussNewton(task.model, objective, rows.select(np.array([0])))
        factoring, factors = (0.0, task.factors) if task.factors_kept else _factored(task)

        def solve_step() -> None:
            one_row @ vector
            if factors is not None:
                factors.solve(parameters, factors.product(parameters, vector), factors.largest)

        product, solve = _seconds(lambda: curvature @ vector) / len(rows), _seconds(solve_step)
    step = _step_seconds(task) if recipe.stepwise else _user_step_seconds(task)
    return Rates(
        step=step,
        partial=min(step, _step_seconds(task, last_layers.chosen(task, 1))),
        gradient=_seconds(lambda: mean_gradient(task.model, objective, rows)) / len(rows),
        single=single,
        product=product,
        solve=solve,
        factoring=factoring,
        forward=_seconds(lambda: reading.outputs(task.model, objective, rows.x)) / len(rows),
        reading=trace_seconds,
    )


def _without_gradients(task: Task, trace_seconds: float) -> Rates:
    """Return the rates of a model that can only be trained anew and read; other work has infinite rates."""
    rows, inf = task.retain.select(np.arange(min(PROBED_ROWS[0], len(task.retain)))), float("inf")
    forward = _seconds(lambda: reading.outputs(task.model, task.objective, rows.x)) / len(rows)
    return Rates(_user_step_seconds(task), inf, inf, inf, inf, inf, inf, forward, trace_seconds)


def _probed_rows(task: Task) -> Data:
    """Return so many retained rows that all runs of a gradient over them take about ``ENOUGH`` seconds."""
    fewest, most = (min(len(task.retain), count) for count in PROBED_ROWS)
    few = task.retain.select(np.arange(fewest))
    seconds = _seconds(lambda: mean_gradient(task.model, task.objective, few))
    count = int(np.clip(fewest * ENOUGH / (REPEATS + 1) / seconds, fewest, most))
    return task.retain.select(np.arange(count))


def _factored(task: Task) -> tuple[float, Ekfac | None]:
    """Predict the seconds of computing the EKFAC factors, by linear extrapolation from two small samples.

    Two are needed because the eigenvectors take the same time whatever the number of rows, which on a small network is
    more than that of the rows.

    Returns:
        Seconds, and the second sample's factors, which take as long to use as those of all rows; infinite and None
        where no layer has factors.
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
    per_row = max(0.0, times[1] - times[0]) / max(1, sizes[1] - sizes[0])
    return times[1] + per_row * (all_rows - sizes[1]), factors


def _step_seconds(task: Task, learning: list[str] | None = None) -> float:
    """Return the median seconds of a training step, of all parameters or of the named ones alone."""
    recipe = task.oracle.recipe
    module = weights.clone(task.model)
    optimizer = recipe.optimizer(training.trainable(module))  # of all, since the recipe's groups may expect them
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and (learning is None or name in learning))
    epochs = 1 + PROBED_STEPS * recipe.batch_size // len(task.retain)
    steps = iter(list(training.order(len(task.retain), epochs, recipe.batch_size, 0))[:PROBED_STEPS])
    run = training.run_steps(recipe, module, optimizer, task.retain, steps, 0)
    times = []
    began = time.perf_counter()
    for _ in run:
        times.append(time.perf_counter() - began)
        if len(times) > REPEATS and sum(times) > ENOUGH:
            break
        began = time.perf_counter()
    return float(np.median(times))


def _user_step_seconds(task: Task) -> float:
    """Return the seconds of a step of the user's training code, by the original's training; infinite if unknown."""
    if task.oracle.seconds is None:
        return float("inf")
    return task.oracle.seconds / training.steps_of(task.oracle.recipe, len(task.oracle.data))


def _seconds(work: Callable[[], object]) -> float:
    """Return the median seconds of a few runs after a first one, which warms up; of fewer where they take long."""
    times = list[float]()
    while len(times) <= REPEATS and sum(times) < ENOUGH:
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return float(np.median(times[1:] or times))
