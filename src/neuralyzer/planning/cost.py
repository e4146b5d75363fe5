"""Predicted seconds: a few real batches of this model timed on this machine, times an algorithm's passes."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from neuralyzer.influence.curvature import GaussNewton, Parameters, mean_gradient
from neuralyzer.methods.method import Passes
from neuralyzer.methods.task import Task
from neuralyzer.models import reading, training, weights

PROBED_STEPS = 60
PROBED_ROWS = 2048
REPEATS = 3


@dataclass(frozen=True)
class Rates:
    """Seconds of each kind of work on this machine.

    Attributes:
        step: a training step of one batch.
        gradient: a row's part in a gradient over many rows.
        product: a row's part in a product with the curvature.
        forward: a row read among many.
        reading: one reading of the coach's trace.
    """

    step: float
    gradient: float
    product: float
    forward: float
    reading: float

    def seconds(self, passes: Passes) -> float:
        """What the passes will take."""
        return (
            passes.steps * self.step
            + passes.gradients * self.gradient
            + passes.products * self.product
            + passes.forwards * self.forward
            + passes.readings * self.reading
        )


def probe(task: Task) -> Rates:
    """Time each kind of work; the model is not changed."""
    recipe, objective = task.oracle.recipe, task.objective
    rows = task.retain.select(np.arange(min(len(task.retain), PROBED_ROWS)))
    vector = torch.ones(sum(Parameters(task.model).sizes))
    curvature = GaussNewton(task.model, objective, rows)
    return Rates(
        step=_step_seconds(task) if recipe.train is None and recipe.command is None else _own_step_seconds(task),
        gradient=_seconds(lambda: mean_gradient(task.model, objective, rows)) / len(rows),
        product=_seconds(lambda: curvature @ vector) / len(rows),
        forward=_seconds(lambda: reading.outputs(task.model, objective, rows.x)) / len(rows),
        reading=_seconds(lambda: task.trace(task.model)) if task.traceable else 0.0,
    )


def _step_seconds(task: Task) -> float:
    recipe = task.oracle.recipe
    module = weights.clone(task.model)
    optimizer = recipe.optimizer(training.trainable(module))
    epochs = 1 + PROBED_STEPS * recipe.batch_size // len(task.retain)
    steps = iter(list(training.order(len(task.retain), epochs, recipe.batch_size, 0))[:PROBED_STEPS])
    taken = training.run_steps(recipe, module, optimizer, task.retain, steps, 0)
    times = []
    began = time.perf_counter()
    for _ in taken:
        times.append(time.perf_counter() - began)
        began = time.perf_counter()
    return float(np.median(times))


def _own_step_seconds(task: Task) -> float:
    """The user's own training code, by what the original's training took; infinite where nobody knows."""
    if task.oracle.seconds is None:
        return float("inf")
    return task.oracle.seconds / training.steps_of(task.oracle.recipe, len(task.oracle.data))


def _seconds(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return float(np.median(times))
