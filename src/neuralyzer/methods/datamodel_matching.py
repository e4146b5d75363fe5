"""Datamodel matching: the outputs of models that never saw the rows are the target, approached by Newton steps."""

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from neuralyzer.data.request import Guarantee
from neuralyzer.data.rows import Data
from neuralyzer.influence.matching import PRODUCTS, PULL, matching
from neuralyzer.methods.method import Expectation, Need, Passes
from neuralyzer.methods.repair import reestimated
from neuralyzer.methods.task import Task
from neuralyzer.methods.tuner import Tuner
from neuralyzer.models import weights
from neuralyzer.progress import Progress, Silent
from neuralyzer.references.copies import copies

DAMPINGS = (3e-4, 3e-5, 3e-3)  # of the curvature's largest eigenvalue; the next where the coach still tells the model
LOOKS = (3, 6)  # steps after which the coach is asked
GOOD = 0.5  # of the joint test's critical value: no further step is taken


@dataclass(frozen=True)
class DatamodelMatching:
    """Match what models that never saw the forget rows output on them (Georgiev et al. 2024, arXiv 2410.23232).

    The paper predicts those outputs by a datamodel and fine-tunes towards them. Here they are the geometric mean over
    the tuning members that never saw a row, and the steps are Newton's in the metric of the whole data's curvature
    (``influence.matching``), so that what moves is what other rows leave free: features forget, not outputs alone.

    Attributes:
        damping: ``lambda`` as a share of the curvature's largest eigenvalue; searched where None.
        steps: how many; searched where None.
    """

    damping: float | None = None
    steps: int | None = None

    name: ClassVar[str] = "datamodel-matching"
    summary: ClassVar[str] = "Newton steps towards what references that never saw the rows output on them"
    paper: ClassVar[str] = "Georgiev et al. 2024, arXiv 2410.23232"
    guarantee: ClassVar[Guarantee] = Guarantee.STRONG
    needs: ClassVar[frozenset[Need]] = frozenset({Need.FORGET, Need.REFERENCES})
    expected: ClassVar[Expectation] = Expectation(trace=0.05, utility_loss=-0.004)
    repaired: ClassVar[bool] = False

    def passes(self, task: Task) -> Passes:
        """Products with the forget rows' curvature, a reading a look; the factors where they are not kept yet."""
        # A product with few rows takes as long as two training steps of as many, and half of the products are needed;
        # one damping is enough for nearly all requests.
        looks = self._looks
        copied = 0 if task.references is None else task.references.copies.shape[2]
        batches = (1 + copied) * len(task.forget) / task.oracle.recipe.batch_size
        return Passes(
            steps=max(looks) * PRODUCTS * math.ceil(batches),
            gradients=task.factors_cost,
            forwards=2 * len(looks) * len(task.held_back),
            readings=len(looks),
        )

    @property
    def _dampings(self) -> tuple[float, ...]:
        return DAMPINGS if self.damping is None else (self.damping,)

    @property
    def _looks(self) -> tuple[int, ...]:
        return LOOKS if self.steps is None else (self.steps,)

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Step with each damping, and look, until the coach sees little or the budget is spent; the coach chooses."""
        progress = progress or Silent()
        progress.start("matching: curvature", 1)
        factors, (rows, aim) = task.factors, aims(task)
        others, pull = len(task.retain), PULL * len(task.forget) / len(rows)
        progress.advance()
        progress.finish()
        tuner = Tuner(task)
        progress.start("matching: damping and steps, by the tuning half", len(self._dampings) * len(self._looks))
        for damping in self._dampings:
            path = matching(task.model, task.objective, rows, aim, factors, others, damping * factors.largest, pull)
            for steps, module in enumerate(itertools.islice(path, max(self._looks)), 1):
                if steps in self._looks:
                    reached = reestimated(weights.clone(module), task)
                    tuner.attempt([{"damping": damping, "steps": steps}], lambda _, own=reached: own)  # type: ignore[misc]
                    progress.advance()
                if tuner.late or (tuner.trials and tuner.best.z <= GOOD * tuner.critical):
                    break
            if tuner.late or tuner.best.z <= tuner.critical:
                break
        task.show(progress, tuner.best.module)
        progress.finish()
        return tuner.best.module


def aims(task: Task) -> tuple[Data, Tensor]:
    """What shall be matched, and to which outputs.

    A recipe that augments teaches its models what copies look like, so that these know the rows by their copies.

    Returns:
        The ``F`` forget rows, then ``K`` times a copy of each; and the outputs of the tuning members that never saw a
        row's subject, as one target each, ``(F + K F, C)``.
    """
    assert task.references is not None
    half, objective = task.references, task.objective
    places = {int(position): place for place, position in enumerate(task.positions)}
    x, y = task.oracle.data.gather(task.positions)
    shown = [x, *copies(x, half.copies.shape[2], half.meter.context)]
    aim: list[list[Tensor]] = [[torch.empty(0)] * len(places) for _ in shown]
    for part in task.parts:
        given = [half.never_outputs(part), *half.never_on_copies(part)]
        for version, outputs in enumerate(given):
            for row, own in zip(part.rows, objective.target(outputs), strict=True):
                aim[version][places[int(row)]] = own
    rows = Data.from_arrays(torch.cat(shown).numpy(), torch.cat([y] * len(shown)).numpy())
    return rows, torch.cat([torch.stack(own) for own in aim])
