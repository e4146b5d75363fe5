"""NegGrad+: descent on retained rows, ascent on forget rows. It hides rather than forgets; see its page."""

import itertools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

from neuralyzer.data.request import Guarantee
from neuralyzer.methods import continuing
from neuralyzer.methods.losses import neggrad_plus
from neuralyzer.methods.method import Expectation, Need, Passes
from neuralyzer.methods.task import Task
from neuralyzer.models import reading, training, weights
from neuralyzer.progress import Progress, Silent

STEPS_A_LOOK = 4  # between looks at the forget loss


@dataclass(frozen=True)
class NegGradPlus:
    """Minimise ``beta L(retain) - (1 - beta) L(forget)``; stop where the forget loss is what never-seen members have.

    Attributes:
        epochs: most passes over the retained rows.
        beta: weight of the retained rows.
        rate: learning rate, as a multiple of the recipe's.
    """

    epochs: int = 5
    beta: float = 0.95
    rate: float = 1.0

    name: ClassVar[str] = "neggrad-plus"
    summary: ClassVar[str] = "descend on retained, ascend on forget rows; hides rather than forgets"
    paper: ClassVar[str] = "Kurmanji et al. 2023, arXiv 2302.09880"
    guarantee: ClassVar[Guarantee] = Guarantee.WEAK
    needs: ClassVar[frozenset[Need]] = frozenset({Need.RETAIN, Need.FORGET, Need.REFERENCES})
    expected: ClassVar[Expectation] = Expectation(trace=0.3, utility_loss=0.001)
    repaired: ClassVar[bool] = False

    def passes(self, task: Task) -> Passes:
        """At most its epochs' steps, on two batches each, with a look at the forget rows every 4."""
        steps = continuing.steps(task, len(task.retain), self.epochs)
        return Passes(steps=2 * steps, forwards=steps / STEPS_A_LOOK * len(task.forget))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Descend and ascend from a copy of the original."""
        progress = progress or Silent()
        recipe, objective = task.oracle.recipe, task.objective
        module = weights.clone(task.model).train()
        optimizer = continuing.optimizer(recipe, module, self.rate)
        retained = list(training.order(len(task.retain), self.epochs, recipe.batch_size, task.seed))
        forgets = itertools.chain.from_iterable(
            training.order(len(task.forget), 1, recipe.batch_size, task.seed + turn) for turn in itertools.count()
        )
        progress.start("descending and ascending", len(retained))
        for step, (keep, drop) in enumerate(zip(retained, forgets, strict=False)):
            x, y = task.retain.gather(keep)
            x_f, y_f = task.forget.gather(drop)
            optimizer.zero_grad(set_to_none=True)
            loss = neggrad_plus(
                objective.losses(objective.outputs(module, x), y),
                objective.losses(objective.outputs(module, x_f), y_f),
                self.beta,
            )
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            progress.advance()
            if step % STEPS_A_LOOK == 0:
                reached = reading.mean_loss(module, objective, task.forget)
                module.train()
                if not np.isfinite(reached) or reached >= task.never_seen_loss:
                    break
        task.show(progress, module)
        progress.finish()
        return module.eval()
