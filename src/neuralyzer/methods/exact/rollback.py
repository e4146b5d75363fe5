"""Rollback to the newest checkpoint that never saw the forget rows, and a replay of later steps without them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

from neuralyzer.data.request import Guarantee
from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError
from neuralyzer.models import training
from neuralyzer.models.capabilities import Capability
from neuralyzer.models.recipe import Recipe
from neuralyzer.progress import Progress, Silent
from neuralyzer.registry.history import Checkpoint, History
from neuralyzer.unlearning import replay
from neuralyzer.unlearning.method import Expectation, Need, Passes
from neuralyzer.unlearning.replay import repeats
from neuralyzer.unlearning.task import Task


@dataclass(frozen=True)
class Rollback:
    """Replay of the recorded training from step ``t``, before any forget row, each step on its retained rows alone.

    The result is that of training without the forget rows, with the recorded order of the others. So it has the
    distribution of retraining, at the cost of the steps after ``t``.

    This holds where the recipe takes the recorded steps. A run that the recipe did not train, such as one of the user's
    own loop, is checked first: its last recorded steps, replayed with all their rows, must give its weights again.
    """

    name: ClassVar[str] = "rollback"
    summary: ClassVar[str] = "back to the newest clean checkpoint, then replay without the forget rows"
    paper: ClassVar[str] = "Thudi et al. 2022, arXiv 2109.13398"
    guarantee: ClassVar[Guarantee] = Guarantee.EXACT
    needs: ClassVar[frozenset[Need | Capability]] = frozenset({Need.RETAIN, Need.CHECKPOINTS, Capability.CONTINUED})
    expected: ClassVar[Expectation] = Expectation(trace=0.0, utility_loss=0.0)
    repaired: ClassVar[bool] = False

    def passes(self, task: Task) -> Passes:
        """Return the recorded steps after the checkpoint."""
        if task.history is None or task.checkpoint is None:
            return Passes()
        return Passes(steps=task.history.steps - task.checkpoint.step)

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Load the checkpoint and replay the steps after it; the training audit records each step.

        Args:
            task: with a recorded training.
            progress: shown the steps.

        Returns:
            The module.

        Raises:
            UsageError: if there is no such checkpoint, or the recipe does not repeat a recorded loop.
        """
        progress = progress or Silent()
        history, checkpoint = task.history, task.checkpoint
        if history is None or checkpoint is None:
            raise UsageError(f"rollback is not possible: {replay.obstacle(task)}")
        if history.recipe is None:
            _require_the_recipe_repeats(history, task.oracle.recipe, task.oracle.data)
        retained = ~np.isin(np.arange(len(task.oracle.data)), task.positions)

        def steps() -> Iterator[np.ndarray]:
            for batch in history.batches_from(checkpoint.step):
                progress.advance()
                if retained[batch].any():
                    yield batch[retained[batch]]

        progress.start("replaying", history.steps - checkpoint.step)
        observer = task.training_audit.watch(task.oracle.data)
        module = _replay(history, checkpoint, task.oracle.recipe, task.oracle.data, steps(), observer)
        progress.finish()
        return module.eval()


def _replay(
    history: History,
    checkpoint: Checkpoint,
    recipe: Recipe,
    data: Data,
    steps: Iterator[np.ndarray],
    observer: training.Observer | None = None,
) -> nn.Module:
    """Return a module after training steps by the recipe from a checkpoint on."""
    module = recipe.module()
    optimizer = recipe.optimizer(training.trainable(module))
    history.load(checkpoint, module, optimizer)
    for _ in training.run_steps(recipe, module, optimizer, data, steps, recipe.seed, observer, done=checkpoint.step):
        pass
    return module


def _require_the_recipe_repeats(history: History, recipe: Recipe, data: Data) -> None:
    """Replay the last recorded steps with all their rows and compare the weights with the recorded ones.

    Raises:
        UsageError: if they differ.
    """
    last = history.checkpoints[-1]
    earlier = [checkpoint for checkpoint in history.checkpoints if checkpoint.has_optimizer]
    earlier = [checkpoint for checkpoint in earlier if checkpoint.step < last.step]
    if not earlier:
        return
    first = earlier[-1]
    module = _replay(history, first, recipe, data, history.batches_from(first.step))
    start, recorded, replayed = (
        nn.utils.parameters_to_vector([*weights.parameters()]).detach()
        for weights in (history.load(first, recipe.module()), history.load(last, recipe.module()), module)
    )
    if not repeats(start, recorded, replayed):
        raise UsageError(
            f"the recipe does not repeat the steps of run {history.name}: replayed from checkpoint {first.step} they "
            f"give other weights than checkpoint {last.step}; build, optimizer, objective and batches must be the "
            "loop's, without random numbers of their own (dropout, augment)"
        )
