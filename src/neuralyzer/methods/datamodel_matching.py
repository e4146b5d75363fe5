"""Datamodel matching: the outputs of models that never saw the rows are the target, by Newton steps and fine-tuning."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from neuralyzer.data.request import Guarantee
from neuralyzer.data.rows import Data
from neuralyzer.influence.matching import PRODUCTS, PULL, matching
from neuralyzer.methods import continuing
from neuralyzer.methods.method import Expectation, Need, Passes
from neuralyzer.methods.repair import reestimated
from neuralyzer.methods.task import Task
from neuralyzer.methods.tuner import Tuner
from neuralyzer.models import weights
from neuralyzer.progress import Progress, Silent
from neuralyzer.references.copies import copies

DAMPINGS = (3e-4, 3e-5, 3e-3)  # of the curvature's largest eigenvalue; the next where the coach still tells the model
MOST_STEPS = 3  # before the first look
GOOD = 0.5  # the tuner's score, of the joint test's critical value: no further step is taken
LEFT = 0.5  # of the time must be left for a look
BESIDE = 0.5  # matched rows in a batch, as a share of its retained ones
WEIGHT = 0.75  # of the matched rows' mean mismatch beside the retained rows' mean loss
PRODUCT = 7 / 3  # a row's product with the curvature, in gradients


@dataclass(frozen=True)
class DatamodelMatching:
    """Match what models that never saw the forget rows output on them (Georgiev et al. 2024, arXiv 2410.23232).

    The paper predicts those outputs by a datamodel and fine-tunes towards them and, on retained rows, towards what is
    known there. Here they are the geometric mean over the tuning members that never saw a row. The way there begins with
    Newton steps in the metric of the whole data's curvature (``influence.matching``), so that what moves is what other
    rows leave free: features forget, not outputs alone. Fine-tuning follows on retained rows by their labels and matched
    rows beside them, its weights averaged over its second half (Izmailov et al. 2018, arXiv 1803.05407).

    Attributes:
        damping: ``lambda`` as a share of the curvature's largest eigenvalue; searched where None.
        steps: Newton steps; where None as many as cost what the fine-tuning does, three at most, and twice as many
            where the coach still sees much.
        epochs: passes over the retained rows.
        rate: their learning rate, as a multiple of the recipe's.
    """

    damping: float | None = None
    steps: int | None = None
    epochs: int = 3
    rate: float = 1.0

    name: ClassVar[str] = "datamodel-matching"
    summary: ClassVar[str] = (
        "Newton steps and fine-tuning towards what references that never saw the rows output on them"
    )
    paper: ClassVar[str] = "Georgiev et al. 2024, arXiv 2410.23232"
    guarantee: ClassVar[Guarantee] = Guarantee.STRONG
    needs: ClassVar[frozenset[Need]] = frozenset({Need.RETAIN, Need.FORGET, Need.REFERENCES})
    expected: ClassVar[Expectation] = Expectation(trace=0.05, utility_loss=-0.004)
    repaired: ClassVar[bool] = False

    def passes(self, task: Task) -> Passes:
        """Steps and passes of the first look, which is left out where time is short; factors if they are not kept."""
        copied = task.references is not None and task.references.copies.shape[2] > 0
        return Passes(
            steps=(1 + BESIDE) * continuing.steps(task, len(task.retain), self.epochs),
            products=self._first(task) * PRODUCTS * (1 + copied) * len(task.forget),
            gradients=task.factors_cost,
            forwards=0 if task.limited else 2 * len(task.held_back),
            readings=0 if task.limited else 1,
        )

    def _first(self, task: Task) -> int:
        """Newton steps before the first look."""
        if self.steps is not None:
            return self.steps
        copied = task.references is not None and task.references.copies.shape[2] > 0
        one = PRODUCT * PRODUCTS * (1 + copied) * len(task.forget)
        return min(MOST_STEPS, max(1, math.floor(self.epochs * len(task.retain) / one)))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Step with each damping, fine-tune and look, until the coach sees little or the time is spent; the coach chooses.

        Returns:
            The best; where more than half of the time has gone the first without a look, which may take as long.
        """
        progress = progress or Silent()
        progress.start("matching: curvature", 1)
        factors, aims = task.factors, Aims.of(task)
        progress.advance()
        progress.finish()
        tuner, first = Tuner(task), self._first(task)
        looks = (first, 2 * first) if self.steps is None else (first,)
        for damping in DAMPINGS if self.damping is None else (self.damping,):
            rounds = itertools.islice(aims.rounds(), max(looks))
            pull = PULL * len(task.forget) / len(aims.round(0)[0])
            path = matching(
                task.model, task.objective, rounds, factors, len(task.retain), damping * factors.largest, pull
            )
            progress.start("matching: Newton steps", max(looks))
            for steps, module in enumerate(path, 1):
                progress.advance()
                if steps not in looks:
                    continue
                reached = self._finetuned(task, module, aims, progress)
                if task.spent > 1 - LEFT and not tuner.trials:
                    return reached
                tuner.attempt([{"damping": damping, "steps": steps}], lambda _, own=reached: own)  # type: ignore[misc]
                if tuner.late or tuner.score(tuner.best) <= GOOD:
                    break
            if tuner.late or tuner.score(tuner.best) <= 1:
                break
        return tuner.best.module

    def _finetuned(self, task: Task, module: nn.Module, aims: "Aims", progress: Progress) -> nn.Module:
        """A copy, trained on retained rows and matched ones beside them; the mean of its second half's weights."""
        module = weights.clone(module)
        if not self.epochs:
            return reestimated(module, task)
        averaged, steps = AveragedModel(module), continuing.steps(task, len(task.retain), self.epochs)
        recipe = continuing.unscheduled(task.oracle.recipe)
        made = continuing.optimizer(recipe, module, self.rate)
        progress.start("matching: fine-tuning", steps)
        for number, _ in enumerate(continuing.descend(task, module, made, self._losses(task, module, aims), task.seed)):
            progress.advance()
            if number >= steps // 2:
                averaged.update_parameters(module)
        mean = averaged.module if int(averaged.n_averaged) else module
        reached = reestimated(mean, task)
        task.show(progress, reached)
        progress.finish()
        return reached.eval()

    def _losses(self, task: Task, module: nn.Module, aims: "Aims") -> Iterator[Tensor]:
        objective, drawn = task.objective, aims.drawn(math.ceil(BESIDE * task.oracle.recipe.batch_size), task.seed)
        for x, y in continuing.batches(task.oracle.recipe, module, task.retain, self.epochs, task.seed):
            chosen = next(drawn)
            own, target = aims.x[chosen], aims.outputs[chosen]
            outputs = objective.outputs(module, torch.cat([x, own]))
            known, matched = outputs[: len(x)], outputs[len(x) :]
            # the mismatch is a gradient by outputs: this product has it
            missed = (matched * objective.mismatch(matched.detach(), target)).sum(1)
            yield objective.losses(known, y).mean() + WEIGHT * missed.mean()


@dataclass(frozen=True)
class Aims:
    """What shall be matched, and to which outputs.

    A recipe that augments teaches its models what copies look like, so that these know the rows by their copies.

    Attributes:
        x: the ``F`` forget rows, then ``K`` times a copy of each, ``(F + K F, ...)``.
        y: their targets.
        outputs: of the tuning members that never saw a row's subject, as one target each, ``(F + K F, C)``.
        count: ``F``.
    """

    x: Tensor
    y: Tensor
    outputs: Tensor
    count: int

    @classmethod
    def of(cls, task: Task) -> "Aims":
        """Of a task's forget rows."""
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
        outputs = torch.cat([torch.stack(own) for own in aim])
        return cls(torch.cat(shown), torch.cat([y] * len(shown)), outputs, len(x))

    def round(self, number: int) -> tuple[Data, Tensor]:
        """The rows and one copy of each, another in each round; what a Newton step matches."""
        others = len(self.x) // self.count - 1
        own = np.arange(self.count)
        if others:
            own = np.concatenate([own, own + (1 + number % others) * self.count])
        chosen = torch.from_numpy(own)
        return Data.from_arrays(self.x[chosen].numpy(), self.y[chosen].numpy()), self.outputs[chosen]

    def rounds(self) -> Iterator[tuple[Data, Tensor]]:
        """All rounds, without end."""
        return (self.round(number) for number in itertools.count())

    def drawn(self, size: int, seed: int) -> Iterator[Tensor]:
        """Numbers of rows and copies, ``size`` at a time or all, in a new order each time that all were drawn."""
        turn = 0
        while True:
            order = np.random.default_rng(seed + turn).permutation(len(self.x))
            for first in range(0, len(order), size):
                yield torch.from_numpy(order[first : first + size])
            turn += 1
