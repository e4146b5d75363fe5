"""Influence: one removal update with the retained rows' curvature; the tuning split sets its damping and step."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

from neuralyzer.data.request import Guarantee
from neuralyzer.influence.removal import PRODUCTS, moved, removal_space
from neuralyzer.models.capabilities import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning.method import Expectation, Need, Passes
from neuralyzer.unlearning.task import Task
from neuralyzer.unlearning.tuner import Tuner, geometric_neighbours

# The grids were chosen, not tuned; the tuning split picks from them on each request.
DAMPINGS = [10.0**power for power in np.arange(-5.0, -1.5, 0.5)]  # as shares of the curvature's largest eigenvalue
STEPS = [0.7, 1.0, 1.4]  # multiples of the update
TRIALS = len(DAMPINGS) + 2 + len(STEPS) - 1  # dampings, the two around the best one, and steps, of which 1 was tried


@dataclass(frozen=True)
class Influence:
    """``theta + s (H_R + lambda I)^-1 (1/n_R) sum of forget gradients`` (Koh and Liang 2017, arXiv 1703.04730).

    ``H_R`` is the generalised Gauss-Newton matrix over the retained rows. ``lambda`` and ``s`` are searched on the
    tuning split alone, by its joint z over all families; chosen by the mean forget loss instead, a fifth to a half of
    the trace would stay. One Krylov space serves every damping, so the search needs no further products. The equation
    is from memory.

    Attributes:
        damping: ``lambda`` as a share of the curvature's largest eigenvalue; searched where None.
        step: ``s``; searched where None.
        products: most products with the curvature.
    """

    damping: float | None = None
    step: float | None = None
    products: int = PRODUCTS

    name: ClassVar[str] = "influence"
    summary: ClassVar[str] = "one Newton step that takes the forget rows' influence out, then repair"
    paper: ClassVar[str] = "Koh and Liang 2017, arXiv 1703.04730"
    guarantee: ClassVar[Guarantee] = Guarantee.STRONG
    needs: ClassVar[frozenset[Need | Capability]] = frozenset(
        {Need.RETAIN, Need.FORGET, Need.REFERENCES, Capability.GRADIENTS, Capability.CURVATURE}
    )
    expected: ClassVar[Expectation] = Expectation(trace=0.06, utility_loss=-0.004)
    repaired: ClassVar[bool] = True

    def passes(self, task: Task) -> Passes:
        """Return the work: one gradient, the products, and for each trial a reading of the trace and of the losses."""
        forwards = len(task.held_back) * (1 + TRIALS)
        return Passes(
            gradients=len(task.forget), products=self.products * len(task.retain), forwards=forwards, readings=TRIALS
        )

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Build the Krylov space, then choose damping and step."""
        progress = progress or Silent()
        progress.start("influence: curvature", 1)
        space = removal_space(task.model, task.objective, task.retain, task.forget, self.products)
        progress.advance()
        progress.finish()

        def make(settings: dict[str, float]) -> nn.Module:
            progress.advance()
            return moved(task.model, settings["step"] * space.solve(settings["damping"] * space.largest))

        dampings = DAMPINGS if self.damping is None else [self.damping]
        steps = STEPS if self.step is None else [self.step]
        first = 1.0 if self.step is None else self.step
        tuner = Tuner(task, self.repaired)
        progress.start("influence: damping and step, by the tuning split", TRIALS)
        tuner.attempt(({"damping": damping, "step": first} for damping in dampings), make)
        best = tuner.best.settings["damping"]
        tuner.attempt(({"damping": damping, "step": first} for damping in geometric_neighbours(dampings, best)), make)
        best = tuner.best.settings["damping"]
        tuner.attempt(({"damping": best, "step": step} for step in steps), make)
        task.show(progress, tuner.best.module)
        progress.finish()
        return tuner.best.module
