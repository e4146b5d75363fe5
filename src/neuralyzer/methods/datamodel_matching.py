"""Datamodel matching: the outputs of models that never saw the rows are the target, by Newton steps and fine-tuning."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from neuralyzer.data.request import Guarantee
from neuralyzer.errors import UsageError
from neuralyzer.influence.matching import PRODUCTS, PULL, matching
from neuralyzer.methods import continuing
from neuralyzer.methods.aims import Aims, round_size
from neuralyzer.methods.method import Expectation, Need, Passes, unaimed
from neuralyzer.methods.repair import reestimated
from neuralyzer.methods.task import Task
from neuralyzer.methods.tuner import ENOUGH, Tuner
from neuralyzer.models import weights
from neuralyzer.progress import Progress, Silent

DAMPINGS = (3e-4, 3e-5, 3e-3)  # of the curvature's largest eigenvalue; the next where the coach still tells the model
NEAR = (3e-5, 3e-4, 3e-3)  # the like where aims begin at the model's own outputs: less far to go, less held back
FEW = 3  # Newton steps before the first look, where they are cheap
MORE = 2  # times as many where the coach still sees much
MOST = 16  # times as many at most; where time is limited MORE
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
    known there; that is from memory. Here they are, for few rows, the geometric mean over the tuning members that never
    saw a row; for many, as the paper has it, the model's own outputs less what these rows do to them, which tells members
    that held a row from others (``aims``); or, without references, what influence functions say
    (``influence.removal.foretold``). The way there begins with Newton steps in the metric of the whole data's curvature
    (``influence.matching``), so that what moves is what other rows leave free: features forget, not outputs alone.
    Fine-tuning follows, where the rows are many, on retained rows by their labels and matched rows beside them, its
    weights averaged over its second half (Izmailov et al. 2018, arXiv 1803.05407).

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
        """What comes before the first look, and it; of many rows in limited time not it, nor the last of the passes."""
        steps, epochs = self._course(task)
        hurried = task.limited and epochs > 0
        epochs = min(epochs, FEWEST_EPOCHS) if hurried else epochs
        return Passes(
            steps=(1 + BESIDE) * continuing.steps(task, len(task.retain), epochs),
            products=steps * PRODUCTS * round_size(task),
            gradients=task.factors_cost,
            forwards=0 if hurried else 2 * len(task.held_back),
            readings=0 if hurried else 1,
        )

    def _course(self, task: Task) -> tuple[int, int]:
        """How far to go before the first look.

        Returns:
            Newton steps, and passes of fine-tuning after them. Where three steps are as cheap as the passes, the rows
            are few: steps are enough, and nothing has to be mended.
        """
        most = min(MOST_EPOCHS, max(1, round(SHARE * task.oracle.recipe.epochs)))
        epochs = most if self.epochs is None else self.epochs
        cost = continuing.steps(task, len(task.retain), most) * max(task.oracle.recipe.batch_size, SMALLEST_STEP)
        affordable = round(cost / (PRODUCT * PRODUCTS * round_size(task)))
        if affordable >= FEW and self.epochs is None:
            epochs = 0
        return self.steps or min(FEW, max(1, affordable)), epochs

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Step with each damping, fine-tune and look, until the coach sees little or the time is spent; the coach chooses.

        Returns:
            The best. Where time is limited few rows are looked at twice at most, and many not at all: a look may take as
            long as all the rest, and whether there is time for it should not decide what a case that was killed comes to.
        """
        progress = progress or Silent()
        progress.start("matching: curvature", 1)
        factors = task.factors
        progress.advance()
        progress.finish()
        tuner = Tuner(task) if task.traceable else None  # where nothing can be told the first is taken
        first, epochs = self._course(task)
        most = first * (1 if self.steps else MORE if task.limited else MOST)
        pull = PULL * len(task.forget) / round_size(task)
        near = self.source == REFERENCES and epochs > 0
        known = self._known(task, near)
        for damping in self._dampings(near):
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
                if tuner is None or (task.limited and epochs):
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

    def _known(self, task: Task, near: bool) -> Aims | None:
        """What is aimed at whatever the damping; None where that depends on it.

        Few rows are brought to what members say of them: how this model differs from these by chance goes too, and what
        it costs other rows is little. Of many rows it would cost more than the trace, which is a mean over them, gains.

        Args:
            task: gives model, rows and references.
            near: whether the rows are so many that fine-tuning follows.

        Returns:
            The aims.
        """
        if self.source != REFERENCES:
            return None
        return Aims.near(task) if near else Aims.of_references(task)

    def _dampings(self, near: bool) -> tuple[float, ...]:
        if self.damping is not None:
            return (self.damping,)
        return NEAR if near else DAMPINGS

    def _finetuned(self, task: Task, module: nn.Module, aims: Aims, epochs: int, progress: Progress) -> nn.Module:
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

    def _losses(self, task: Task, module: nn.Module, aims: Aims, epochs: int) -> Iterator[Tensor]:
        objective, drawn = task.objective, aims.drawn(math.ceil(BESIDE * task.oracle.recipe.batch_size), task.seed)
        for x, y in continuing.batches(task.oracle.recipe, module, task.retain, epochs, task.seed):
            chosen = next(drawn)
            own, target = aims.x[chosen], aims.outputs[chosen]
            outputs = objective.outputs(module, torch.cat([x, own]))
            known, matched = outputs[: len(x)], outputs[len(x) :]
            # the mismatch is a gradient by outputs: this product has it
            missed = (matched * objective.mismatch(matched.detach(), target)).sum(1)
            yield objective.losses(known, y).mean() + WEIGHT * missed.mean()
