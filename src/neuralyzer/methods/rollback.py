"""Back to the newest checkpoint that never saw the forget rows, then the recorded steps again without them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

from neuralyzer.data.request import Guarantee
from neuralyzer.errors import UsageError
from neuralyzer.methods.method import Expectation, Need, Passes
from neuralyzer.methods.task import Task
from neuralyzer.models import training
from neuralyzer.progress import Progress, Silent


@dataclass(frozen=True)
class Rollback:
    """Replay from step ``t`` of the recorded training, each step on its retained rows; ``t`` precedes every forget row.

    The weights at ``t`` and all later ones are what training without the rows would have given with the recorded
    order of the others: a draw of retraining, at the price of the steps after ``t``.
    """

    name: ClassVar[str] = "rollback"
    summary: ClassVar[str] = "back to the newest clean checkpoint, then replay without the forget rows"
    paper: ClassVar[str] = "Thudi et al. 2022, arXiv 2109.13398"
    guarantee: ClassVar[Guarantee] = Guarantee.EXACT
    needs: ClassVar[frozenset[Need]] = frozenset({Need.RETAIN, Need.CHECKPOINTS})
    expected: ClassVar[Expectation] = Expectation(trace=0.0, utility_loss=0.0)
    repaired: ClassVar[bool] = False

    def passes(self, task: Task) -> Passes:
        """The recorded steps after the checkpoint."""
        if task.history is None or task.checkpoint is None:
            return Passes()
        return Passes(steps=task.history.steps - task.checkpoint.step)

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Load and replay; the witness sees each step.

        Args:
            task: with a recorded training.
            progress: shown the steps.

        Returns:
            The module.

        Raises:
            UsageError: if there is no such checkpoint.
        """
        progress = progress or Silent()
        history, checkpoint = task.history, task.checkpoint
        if history is None or checkpoint is None:
            raise UsageError(f"rollback is not possible: {task.checkpoint_obstacle}")
        recipe, data = task.oracle.recipe, task.oracle.data
        module = recipe.module()
        optimizer = recipe.optimizer(training.trainable(module))
        history.load(checkpoint, module, optimizer)
        left = ~np.isin(np.arange(len(data)), task.positions)

        def steps() -> Iterator[np.ndarray]:
            for batch in history.batches_from(checkpoint.step):
                progress.advance()
                if left[batch].any():
                    yield batch[left[batch]]

        progress.start("replaying", history.steps - checkpoint.step)
        observer = task.witness.watch(data)
        for _ in training.run_steps(
            recipe, module, optimizer, data, steps(), recipe.seed, observer, done=checkpoint.step
        ):
            pass
        progress.finish()
        return module.eval()
