"""Amnesiac unlearning: the updates of all batches that held forget rows are subtracted from the weights."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from neuralyzer.data.request import Guarantee
from neuralyzer.errors import UsageError
from neuralyzer.models import training, weights
from neuralyzer.models.capabilities import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.registry.history import Checkpoint, History, foreign
from neuralyzer.unlearning.method import Expectation, Need, Passes, require_possible
from neuralyzer.unlearning.replay import draws, repeats
from neuralyzer.unlearning.task import Task


class Window(NamedTuple):
    """A range of recorded steps to replay, from a checkpoint to step ``end``."""

    start: Checkpoint
    end: int


@dataclass(frozen=True)
class Amnesiac:
    """``theta' = theta - sum of Delta_b over the batches b that held forget rows`` (Graves et al. 2021).

    arXiv 2010.10981, section "Amnesiac unlearning". The paper stores each ``Delta_b`` during training. A recorded
    history holds batches, and checkpoints with the optimizer's state, so the updates are recomputed instead. Each range
    of steps between two checkpoints that saw a forget row is replayed from the first and must end at the second, or the
    method is refused. Where the training drew random numbers (dropout, augmentation) it is replayed from its first
    checkpoint, as a checkpoint does not hold the generator's state.

    What later batches learned from a removed update stays, so the result is not that of retraining. Where most batches
    held a forget row, little more than the initial weights remains. The paper then trains for a short time; here
    ``repair`` does, which also estimates BatchNorm's running statistics anew, since only the updates of trained
    parameters are subtracted. Equation from memory.
    """

    name: ClassVar[str] = "amnesiac"
    summary: ClassVar[str] = "take back the updates of the batches that held forget rows"
    paper: ClassVar[str] = "Graves et al. 2021, arXiv 2010.10981"
    guarantee: ClassVar[Guarantee] = Guarantee.STRONG
    needs: ClassVar[frozenset[Need | Capability]] = frozenset(
        {Need.RETAIN, Need.FORGET, Need.CHECKPOINTS, Capability.CONTINUED}
    )
    expected: ClassVar[Expectation] = Expectation(trace=0.29, utility_loss=0.01)
    repaired: ClassVar[bool] = True

    def obstacle(self, task: Task) -> str | None:
        """Return why the updates cannot be recomputed; None where they can."""
        history = task.history
        reason = foreign(history, task.oracle, "no update can be made again")
        if reason is not None or history is None:
            return reason
        if not history.whole:
            return "the record of the training is not whole, so its updates cannot be made again"
        if task.oracle.recipe.average is not None:
            return "the recipe averages its weights, and no average is a sum of updates"
        first, starts = history.earliest(task.positions), _starts(task, history)
        if first is not None and not any(start.step <= first for start in starts):
            return "no checkpoint with an optimizer's state precedes the first step on these rows"
        return None

    def passes(self, task: Task) -> Passes:
        """Return the steps that are replayed."""
        if self.obstacle(task) is not None:
            return Passes()
        return Passes(steps=sum(window.end - window.start.step for window in windows(task)))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Recompute the updates and subtract them from a copy; only those recomputed within the time limit.

        Args:
            task: with a recorded training.
            progress: shown the steps.

        Returns:
            The copy.

        Raises:
            UsageError: if the updates cannot be recomputed.
        """
        require_possible(self, task)
        progress, module = progress or Silent(), weights.clone(task.model)
        parameters = training.trainable(module)
        total = torch.zeros_like(_flat(parameters))
        progress.start("making the updates again", int(self.passes(task).steps))
        for window in windows(task):
            updates = _Updates(np.isin(np.arange(len(task.oracle.data)), task.positions))
            for _ in _replay(task, window, updates):
                progress.advance()
                if task.time_is_up:
                    break
            total += updates.total
            if task.time_is_up:
                break
        values = _flat(parameters) - total
        with torch.no_grad():
            parts = torch.split(values, [parameter.numel() for parameter in parameters])
            for parameter, value in zip(parameters, parts, strict=True):
                parameter.copy_(value.reshape(parameter.shape))
        task.show(progress, module)
        progress.finish()
        return module.eval()


def windows(task: Task) -> list[Window]:
    """Return the ranges between recorded checkpoints in which a step was taken on a forget row."""
    history = task.history
    assert history is not None
    starts = _starts(task, history)
    ends = [start.step for start in starts[1:]] + [history.steps]
    forget = np.isin(np.arange(history.rows), task.positions)
    dirty = [step for step, batch in enumerate(history.batches_from(0)) if forget[batch].any()]
    every = (Window(start, end) for start, end in zip(starts, ends, strict=True))
    return [window for window in every if any(window.start.step <= step < window.end for step in dirty)]


def _starts(task: Task, history: History) -> list[Checkpoint]:
    """Return the checkpoints that a replay may start from."""
    starts = [start for start in history.checkpoints if start.has_optimizer and start.step < history.steps]
    return [start for start in starts if start.step == 0] if draws(task) else starts


def _replay(task: Task, window: Window, updates: "_Updates") -> Iterator[None]:
    """Replay the recorded steps of a window.

    Args:
        task: with a recorded training.
        window: the steps.
        updates: sums the updates of steps on forget rows.

    Yields:
        Nothing, once after each step.

    Raises:
        UsageError: if they do not end at the weights that were recorded.
    """
    recipe, history = task.oracle.recipe, task.history
    assert history is not None
    module = recipe.module()
    optimizer = recipe.optimizer(training.trainable(module))
    history.load(window.start, module, optimizer)
    updates.begin(module, optimizer)
    start, batches = _flat([*module.parameters()]), history.batches_from(window.start.step)
    steps = (batch for _, batch in zip(range(window.end - window.start.step), batches, strict=False))
    seed = recipe.seed if history.seed is None else history.seed
    data, done = task.oracle.data, window.start.step
    for _ in training.run_steps(recipe, module, optimizer, data, steps, seed, updates, done=done):
        yield
    for last in history.checkpoints:
        if last.step == window.end:
            replayed, recorded = (_flat([*m.parameters()]) for m in (module, history.load(last, recipe.module())))
            if not repeats(start, recorded, replayed):
                raise UsageError(
                    f"the recipe does not repeat the steps of run {history.name}: replayed from checkpoint {done} they "
                    f"give other weights than checkpoint {last.step}, so no update of its batches is known"
                )


class _Updates:
    """A ``training.Observer`` that sums the updates of the steps that were taken on chosen rows."""

    def __init__(self, chosen: np.ndarray) -> None:
        self.chosen = chosen

    def begin(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Remember the initial parameters."""
        self.parameters = training.trainable(module)
        self.before = _flat(self.parameters)
        self.total = torch.zeros_like(self.before)

    def step(self, positions: np.ndarray) -> None:
        """Add a step's update if it was taken on a chosen row."""
        after = _flat(self.parameters)
        if self.chosen[positions].any():
            self.total += after - self.before
        self.before = after


def _flat(parameters: list[nn.Parameter]) -> Tensor:
    """Return parameters as one vector, in float64 because many small updates are summed."""
    return torch.cat([parameter.detach().double().reshape(-1) for parameter in parameters])
