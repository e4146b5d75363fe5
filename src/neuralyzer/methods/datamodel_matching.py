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
from neuralyzer.errors import UsageError
from neuralyzer.influence.matching import PRODUCTS, PULL, matching
from neuralyzer.influence.removal import foretold
from neuralyzer.methods import continuing
from neuralyzer.methods.method import Expectation, Need, Passes, unaimed
from neuralyzer.methods.repair import reestimated
from neuralyzer.methods.task import Task
from neuralyzer.methods.tuner import ENOUGH, Tuner
from neuralyzer.models import weights
from neuralyzer.progress import Progress, Silent
from neuralyzer.references.copies import copies

DAMPINGS = (3e-4, 3e-5, 3e-3)  # of the curvature's largest eigenvalue; the next where the coach still tells the model
FEW = 3  # Newton steps before the first look, where they are cheap
MORE = 2  # times as many where the coach still sees much, or nobody looks
MOST = 16  # times as many at most
WORTH = 0.85  # of the score before: what doubling the steps must come to for them to be doubled again
SHARE, MOST_EPOCHS = 0.05, 3  # passes of fine-tuning, of the recipe's
FEWEST_EPOCHS = 2  # that must fit a limited time; what is left of it is used
REFERENCES, INFLUENCE = "references", "influence"
BESIDE = 0.5  # matched rows in a batch, as a share of its retained ones
WEIGHT = 0.75  # of the matched rows' mean mismatch beside the retained rows' mean loss
PRODUCT = 7 / 3  # a row's product with the curvature, in gradients
SMALLEST_STEP = 64  # rows that a training step costs as much as at least: most of a small one is overhead


@dataclass(frozen=True)
class DatamodelMatching:
    """Match what models that never saw the forget rows output on them (Georgiev et al. 2024, arXiv 2410.23232).

    The paper predicts those outputs by a datamodel and fine-tunes towards them and, on retained rows, towards what is
    known there; that is from memory. Here they are the geometric mean over the tuning members that never saw a row or,
    where there are none, what influence functions say (``influence.removal.foretold``). The way there begins with
    Newton steps in the metric of the whole data's curvature (``influence.matching``), so that what moves is what other
    rows leave free: features forget, not outputs alone. Fine-tuning follows on retained rows by their labels and matched
    rows beside them, its weights averaged over its second half (Izmailov et al. 2018, arXiv 1803.05407).

    Attributes:
        source: of the outputs that are aimed at: ``references`` or ``influence``.
        damping: ``lambda`` as a share of the curvature's largest eigenvalue; searched where None.
        steps: Newton steps; where None as many as cost what the fine-tuning would, three at most, and twice as many,
            again and again, where the coach still sees much and they help.
        epochs: passes over the retained rows; where None a twentieth of the recipe's, three at most, and none where
            three steps are cheaper: the rows are few, and the steps leave little to mend.
        rate: their learning rate, as a multiple of the recipe's.
    """

    source: str = REFERENCES
    damping: float | None = None
    steps: int | None = None
    epochs: int | None = None
    rate: float = 1.0

    name: ClassVar[str] = "datamodel-matching"
    summary: ClassVar[str] = (
        "Newton steps and fine-tuning towards what references that never saw the rows output on them"
    )
    paper: ClassVar[str] = "Georgiev et al. 2024, arXiv 2410.23232"
    guarantee: ClassVar[Guarantee] = Guarantee.STRONG
    needs: ClassVar[frozenset[Need]] = frozenset({Need.RETAIN, Need.FORGET})
    expected: ClassVar[Expectation] = Expectation(trace=0.05, utility_loss=-0.004)
    repaired: ClassVar[bool] = False
    hurries: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.source not in (REFERENCES, INFLUENCE):
            raise UsageError(f"source is {self.source!r}; it must be {REFERENCES} or {INFLUENCE}")

    def obstacle(self, task: Task) -> str | None:
        """Only references can be missing."""
        return unaimed(task) if self.source == REFERENCES else None

    def passes(self, task: Task) -> Passes:
        """What comes before the first look, and it; where time is limited without that look and the last of the passes."""
        steps, epochs = self._course(task)
        epochs = min(epochs, FEWEST_EPOCHS) if task.limited else epochs
        return Passes(
            steps=(1 + BESIDE) * continuing.steps(task, len(task.retain), epochs),
            products=steps * PRODUCTS * _round_size(task),
            gradients=task.factors_cost,
            forwards=0 if task.limited else 2 * len(task.held_back),
            readings=0 if task.limited else 1,
        )

    def _course(self, task: Task) -> tuple[int, int]:
        """How far to go before the first look.

        Returns:
            Newton steps, and passes of fine-tuning after them. Where three steps are as cheap as the passes, the rows
            are few: steps are enough, and nothing has to be mended. Where time is limited nobody looks whether three
            of them were enough, so that more are taken.
        """
        most = min(MOST_EPOCHS, max(1, round(SHARE * task.oracle.recipe.epochs)))
        epochs = most if self.epochs is None else self.epochs
        cost = continuing.steps(task, len(task.retain), most) * max(task.oracle.recipe.batch_size, SMALLEST_STEP)
        affordable = round(cost / (PRODUCT * PRODUCTS * _round_size(task)))
        if affordable >= FEW and self.epochs is None:
            epochs = 0
        steps = min(FEW, max(1, affordable)) * (MORE if task.limited and not epochs else 1)
        return self.steps or steps, epochs

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Step with each damping, fine-tune and look, until the coach sees little or the time is spent; the coach chooses.

        Returns:
            The best. Where time is limited that is the first, without a look: one may take as long, and whether there
            is time for it must not decide what a case that was killed comes to.
        """
        progress = progress or Silent()
        progress.start("matching: curvature", 1)
        factors = task.factors
        progress.advance()
        progress.finish()
        tuner = Tuner(task) if task.traceable else None  # where nothing can be told the first is taken
        first, epochs = self._course(task)
        most = MOST * first if self.steps is None else first
        pull = PULL * len(task.forget) / _round_size(task)
        known = Aims.of_references(task) if self.source == REFERENCES else None
        for damping in DAMPINGS if self.damping is None else (self.damping,):
            aims = known or Aims.of_influence(task, damping * factors.largest)
            rounds = itertools.islice(aims.rounds(), most)
            path = matching(
                task.model, task.objective, rounds, factors, len(task.retain), damping * factors.largest, pull
            )
            progress.start("matching: Newton steps", first)
            due, before = first, math.inf
            for steps, module in enumerate(path, 1):
                progress.advance()
                if steps != due and not task.late:
                    continue
                reached = self._finetuned(task, module, aims, epochs, progress)
                if tuner is None or task.limited:
                    return reached
                tuner.attempt([{"damping": damping, "steps": steps}], lambda _, own=reached: own)  # type: ignore[misc]
                now = tuner.score(tuner.trials[-1])
                if tuner.late or now <= ENOUGH or now > WORTH * before or steps == most:
                    break
                due, before = MORE * steps, now
                progress.start("matching: Newton steps", due - steps)
            if tuner is None or tuner.late or max(tuner.relative(tuner.best.z), tuner.best.lost) <= 1:
                break
        assert tuner is not None
        return tuner.best.module

    def _finetuned(self, task: Task, module: nn.Module, aims: "Aims", epochs: int, progress: Progress) -> nn.Module:
        """A copy, trained on retained rows and matched ones beside them; the mean of its second half's weights."""
        module = weights.clone(module)
        if not epochs:
            reached = reestimated(module, task)
            task.show(progress, reached)
            progress.finish()
            return reached
        progress.finish()
        averaged, steps = AveragedModel(module), continuing.steps(task, len(task.retain), epochs)
        recipe = continuing.unscheduled(task.oracle.recipe)
        made = continuing.optimizer(recipe, module, self.rate)
        progress.start("matching: fine-tuning", steps)
        losses = self._losses(task, module, aims, epochs)
        for number, _ in enumerate(continuing.descend(task, module, made, losses, task.seed)):
            progress.advance()
            if number >= steps // 2:
                averaged.update_parameters(module)
        mean = averaged.module if int(averaged.n_averaged) else module
        reached = reestimated(mean, task)
        task.show(progress, reached)
        progress.finish()
        return reached.eval()

    def _losses(self, task: Task, module: nn.Module, aims: "Aims", epochs: int) -> Iterator[Tensor]:
        objective, drawn = task.objective, aims.drawn(math.ceil(BESIDE * task.oracle.recipe.batch_size), task.seed)
        for x, y in continuing.batches(task.oracle.recipe, module, task.retain, epochs, task.seed):
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
    def of_references(cls, task: Task) -> "Aims":
        """What models that never saw a row output on it, of a task's forget rows."""
        assert task.references is not None
        half, objective = task.references, task.objective
        places = {int(position): place for place, position in enumerate(task.positions)}
        x, y = _shown(task)
        aim: list[list[Tensor]] = [[torch.empty(0)] * len(places) for _ in range(len(x) // len(places))]
        for part in task.parts:
            for rows, shown in half.never_shown(part):
                for version, outputs in enumerate(shown):
                    for row, own in zip(part.rows[rows], objective.target(outputs), strict=True):
                        aim[version][places[int(row)]] = own
        return cls(x, y, torch.cat([torch.stack(own) for own in aim]), len(places))

    @classmethod
    def of_influence(cls, task: Task, damping: float) -> "Aims":
        """What influence functions say that a model without a task's forget rows outputs on them."""
        x, y = _shown(task)
        outputs = foretold(task.model, task.objective, task.forget, len(task.retain), task.factors, damping, x)
        return cls(x, y, task.objective.target(outputs[None]), len(task.positions))

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


def _round_size(task: Task) -> int:
    """Rows that a Newton step matches."""
    copied = task.references is not None and task.references.copies.shape[2] > 0
    return (1 + copied) * len(task.positions)


def _shown(task: Task) -> tuple[Tensor, Tensor]:
    """The forget rows, then their copies, and the targets of all."""
    x, y = task.oracle.data.gather(task.positions)
    half = task.references
    shown = [x] if half is None else [x, *copies(x, half.copies.shape[2], half.meter.context)]
    return torch.cat(shown), torch.cat([y] * len(shown))
