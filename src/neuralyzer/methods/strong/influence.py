"""Influence: one removal update with the retained rows' curvature; the tuning split sets its damping and step."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

from neuralyzer.data.request import Guarantee
from neuralyzer.influence.natural_gradient import DAMPING
from neuralyzer.influence.removal import PRODUCTS, moved, removal_space, removal_update
from neuralyzer.models.capabilities import Capability
from neuralyzer.models.objective import of_texts
from neuralyzer.progress import Progress, Silent
from neuralyzer.signals.relearned import HOLDOUT_TEXTS
from neuralyzer.unlearning.method import Expectation, Need, Passes, missing_factors
from neuralyzer.unlearning.targets import margin_trace
from neuralyzer.unlearning.task import Task
from neuralyzer.unlearning.tuner import Tuner, geometric_neighbours

# The grids were chosen, not tuned; the tuning split picks from them on each request.
DAMPINGS = [10.0**power for power in np.arange(-5.0, -1.5, 0.5)]  # as shares of the curvature's largest eigenvalue
STEPS = [0.7, 1.0, 1.4]  # multiples of the update
# Of language models, tuned on authors of seed 0 (decisions 39, 41).
TEXTS = 32  # retained texts whose curvature is used
TEXT_PRODUCTS, TEXT_STEP = 4, 2.0
LEFT = (-0.1, 0.2)  # trace by margin that a step should leave: the repair takes it off at less harm
SHORTER, LONGER, TEXT_STEPS = 0.7, 1.3, 5  # factors of the next step that is tried, and how many are tried
DIFFERENCE = 4 / 3  # what a row's product by differences costs, in gradients: two forward passes, one backward
TRIALS = len(DAMPINGS) + 2 + len(STEPS) - 1  # dampings, the two around the best one, and steps, of which 1 was tried


@dataclass(frozen=True)
class Influence:
    """``theta + s (H_R + lambda I)^-1 (1/n_R) sum of forget gradients`` (Koh and Liang 2017, arXiv 1703.04730).

    ``H_R`` is the generalised Gauss-Newton matrix over the retained rows. ``lambda`` and ``s`` are searched on the
    tuning split alone, by its joint z over all families; chosen by the mean forget loss instead, a fifth to a half of
    the trace would stay. One Krylov space serves every damping, so the search needs no further products. The equation
    is from memory.

    Of language models products and readings are dear. There ``H_R`` is that of a sample of texts, conjugate gradients
    are preconditioned by the kept EKFAC factors (``influence.removal.removal_update``), only the step is searched, by
    the trace of ``margin`` alone, and the repair matches the forget rows to members that never saw them.

    Attributes:
        damping: ``lambda`` as a share of the curvature's largest eigenvalue; searched where None.
        step: ``s``; searched where None.
        products: most products with the curvature; 30 where None, of language models 4.
    """

    damping: float | None = None
    step: float | None = None
    products: int | None = None

    name: ClassVar[str] = "influence"
    summary: ClassVar[str] = "one Newton step that takes the forget rows' influence out, then repair"
    paper: ClassVar[str] = "Koh and Liang 2017, arXiv 1703.04730"
    guarantee: ClassVar[Guarantee] = Guarantee.STRONG
    needs: ClassVar[frozenset[Need | Capability]] = frozenset(
        {Need.RETAIN, Need.FORGET, Need.REFERENCES, Capability.GRADIENTS, Capability.CURVATURE}
    )
    expected: ClassVar[Expectation] = Expectation(trace=0.06, utility_loss=-0.004)
    repaired: ClassVar[bool] = True

    def obstacle(self, task: Task) -> str | None:
        """Return why the method cannot work on texts without the curvature's factors; None where it can."""
        return missing_factors(task) if of_texts(task.objective) else None

    def passes(self, task: Task) -> Passes:
        """Return the work: one gradient, the products, and for each trial a reading of the trace and of the losses."""
        if of_texts(task.objective):
            products = self.products or TEXT_PRODUCTS
            gradients = len(task.forget) + DIFFERENCE * products * min(TEXTS, len(task.retain))
            read = len(task.forget) + HOLDOUT_TEXTS
            return Passes(gradients=gradients, factorings=not task.factors_kept, forwards=read + task.shown)
        forwards = len(task.held_back) * (1 + TRIALS)
        products = (self.products or PRODUCTS) * len(task.retain)
        return Passes(gradients=len(task.forget), products=products, forwards=forwards, readings=TRIALS)

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Build the Krylov space, then choose damping and step."""
        progress = progress or Silent()
        if of_texts(task.objective):
            return self._of_texts(task, progress)
        progress.start("influence: curvature", 1)
        products = self.products or PRODUCTS
        space = removal_space(task.model, task.objective, task.retain, task.forget, products)
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

    def _of_texts(self, task: Task, progress: Progress) -> nn.Module:
        """Take one step, shorter or longer until the tuning split reads by ``margin`` that it leaves little."""
        progress.start("influence: curvature", 1)
        order = np.random.default_rng(task.seed).permutation(len(task.retain))
        damping = DAMPING if self.damping is None else self.damping
        change = removal_update(
            task.model, task.objective, task.retain.select(np.sort(order[:TEXTS])), task.forget, len(task.retain),
            task.factors, damping * task.factors.largest, self.products or TEXT_PRODUCTS,
        )  # fmt: skip
        progress.advance()
        progress.finish()
        step = TEXT_STEP if self.step is None else self.step
        module = moved(task.model, step * change)
        progress.start("influence: step, by the tuning split", TEXT_STEPS)
        for _ in range(TEXT_STEPS if self.step is None else 0):
            left = margin_trace(task, module)
            task.tried.append({"settings": {"step": step}, "margin": left})
            progress.advance()
            if left is None or LEFT[0] <= left <= LEFT[1]:
                break
            step *= SHORTER if left < LEFT[0] else LONGER
            module = moved(task.model, step * change)
        task.show(progress, module)
        progress.finish()
        return module
