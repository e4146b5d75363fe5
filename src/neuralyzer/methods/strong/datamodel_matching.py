"""Datamodel matching: the outputs of models that never saw the rows are the target, by Newton steps and fine-tuning."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from neuralyzer.data import batches
from neuralyzer.data.request import Guarantee
from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError
from neuralyzer.influence.matching import PRODUCTS, PULL, matching
from neuralyzer.models import reading, weights
from neuralyzer.models.capabilities import Capability
from neuralyzer.models.objective import matchable
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import training_loop
from neuralyzer.unlearning.method import Expectation, Need, Passes, missing_target
from neuralyzer.unlearning.repair import reestimated
from neuralyzer.unlearning.targets import Targets, round_size
from neuralyzer.unlearning.task import Task
from neuralyzer.unlearning.tuner import ENOUGH, Tuner

# Of the curvature's largest eigenvalue; the next where the tuning split still tells the model.
DAMPINGS = (3e-4, 3e-5, 3e-3)
NEAR = (3e-5, 3e-4, 3e-3)  # the same where targets begin at the model's own outputs: less far to go, less held back
FEW = 3  # Newton steps before the first look, where they are cheap
MORE = 2  # times as many where the tuning split still sees much
MOST = 16  # times as many at most; where time is limited MORE
WORTH = 0.85  # of the score before: what doubling the steps must come to for them to be doubled again
SHARE, MOST_EPOCHS = 0.05, 3  # passes of fine-tuning, of the recipe's
FEWEST_EPOCHS = 2  # that must fit a limited time; what is left of it is used
MANY = 100  # rows in whose mean trace a model's own chance is lost: they may keep it
BY_HEART = 3  # times what a case may lose: where retained rows are known so much better than others, passes follow
REFERENCES, INFLUENCE = "references", "influence"
DISPLACED = 0.5  # of what a case may lose: where steps cost retained rows more, passes follow
BESIDE = 0.5  # matched rows in a batch, as a share of its retained ones
WEIGHT = 0.75  # of the matched rows' mean mismatch beside the retained rows' mean loss
PRODUCT = 7 / 3  # a row's product with the curvature, in gradients
SMALLEST_STEP = 64  # rows that a training step costs as much as at least: most of a small one is overhead


@dataclass(frozen=True)
class DatamodelMatching:
    """Match what models that never saw the forget rows output on them (Georgiev et al. 2024, arXiv 2410.23232).

    The paper predicts those outputs by a datamodel and fine-tunes towards them and, on retained rows, towards what is
    known there; that is from memory. Here they are, for few rows, what tuning members that never saw a row say of it
    together, as much surer as the model is on rows that nobody saw; for many, as the paper has it, the model's own outputs
    less what these rows do to them, which tells members that held a row from others (``targets``); or, without references,
    what influence functions say (``influence.removal.predicted_outputs``). The way there begins with Newton steps in the metric of
    the whole data's curvature (``influence.matching``), so that what moves is what other rows leave free: features forget,
    not outputs alone. Where the recipe augments, new copies are matched in place of rows. Fine-tuning follows, where it
    is cheaper than three steps or has something to mend, on retained rows by their labels and matched rows beside them,
    its weights averaged over its second half (Izmailov et al. 2018, arXiv 1803.05407).

    Attributes:
        source: of the outputs that are aimed at: ``references`` or ``influence``.
        damping: ``lambda`` as a share of the curvature's largest eigenvalue; searched where None.
        steps: Newton steps; where None as many as cost what the fine-tuning would, three at most, and twice as many,
            again and again, where the tuning split still sees much and they help.
        epochs: passes over the retained rows; where None a twentieth of the recipe's, three at most. Where three steps
            are cheaper than these, they follow the last step alone, and only where the model knows retained rows better
            than others or steps did them harm: else there is nothing to mend.
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
    needs: ClassVar[frozenset[Need | Capability]] = frozenset(
        {
            Need.RETAIN,
            Need.FORGET,
            Capability.GRADIENTS,
            Capability.CONTINUED,
            Capability.CURVATURE,
            Capability.MATCHING,
        }
    )
    expected: ClassVar[Expectation] = Expectation(trace=0.05, utility_loss=-0.004)
    repaired: ClassVar[bool] = False
    anytime: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.source not in (REFERENCES, INFLUENCE):
            raise UsageError(f"source is {self.source!r}; it must be {REFERENCES} or {INFLUENCE}")

    def obstacle(self, task: Task) -> str | None:
        """Only references can be missing."""
        return missing_target(task) if self.source == REFERENCES else None

    def passes(self, task: Task) -> Passes:
        """The factors, then steps and a look, once or twice: what the first look shows decides, and nobody knows it yet.

        Where passes follow, once: there are more only if the tuning split still tells the model.

        Returns:
            In limited time without the last of the passes, and without a look where steps are dearer than passes; where
            steps are cheap what lies midway between one round and two.
        """
        course = self._course(task)
        epochs = min(course.planned, FEWEST_EPOCHS) if task.limited else course.planned
        batches, own = training_loop.steps(task, len(task.retain), epochs), task.oracle.recipe.augment is not None
        finetuning = Passes(
            steps=(1 + BESIDE) * batches, forwards=own * BESIDE * batches * task.oracle.recipe.batch_size
        )
        stepping = Passes(products=course.steps * PRODUCTS * round_size(task), solves=course.steps * PRODUCTS)
        look, factors = Passes(forwards=2 * len(task.held_back), readings=1), Passes(factorings=not task.factors_kept)
        if task.references is None or (task.limited and not course.cheap):  # the first is taken, unseen
            return factors + stepping + finetuning
        rounds = 1 if course.planned else (1 + MORE) / 2 if task.limited else MORE
        if course.cheap:
            return factors + (stepping + look) * rounds + finetuning
        return factors + (stepping + finetuning + look) * rounds

    def _course(self, task: Task) -> "_Course":
        """How far to go before the first look, and what follows."""
        most = min(MOST_EPOCHS, max(1, round(SHARE * task.oracle.recipe.epochs)))
        cost = training_loop.steps(task, len(task.retain), most) * max(task.oracle.recipe.batch_size, SMALLEST_STEP)
        affordable = round(cost / (PRODUCT * PRODUCTS * round_size(task)))
        cheap = affordable >= FEW and not self.epochs
        by_heart = task.generalisation_gap > BY_HEART * task.objective.max_utility_loss
        epochs = most if self.epochs is None else self.epochs
        near = self.source == REFERENCES and (not cheap or len(task.forget) >= MANY)
        steps = self.steps or min(FEW, max(1, affordable))
        return _Course(steps, epochs, epochs if by_heart or not cheap else 0, cheap, near)

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Step with each damping, fine-tune and look, until the tuning split sees little or the time is spent; the tuning split chooses.

        Returns:
            The best; where steps are cheap fine-tuned once it is chosen. Where time is limited there are two looks at
            most then, one where passes follow and the tuning split no longer tells the model, and none where steps are dear: a
            look may take as long as all the rest, and whether there is time for it should not decide what a case that
            was killed comes to.
        """
        progress = progress or Silent()
        progress.start("matching: curvature", 1)
        factors = task.factors
        progress.advance()
        progress.finish()
        course = self._course(task)
        looks = (course.cheap or not task.limited) and task.traceable  # what nobody reads is not computed
        tuner = Tuner(task) if looks else None  # where nothing is told the first is taken
        known, aimed = self._known(task, course), dict[float, Targets]()
        for damping in self._dampings(course):
            aimed[damping] = known or Targets.of_influence(task, damping * factors.largest)
            reached = self._walked(task, damping, aimed[damping], course, tuner, progress)
            if tuner is None or tuner.time_is_up or max(tuner.relative(tuner.best.z), tuner.best.lost) <= 1:
                break
        if tuner is not None:
            damping, reached = tuner.best.settings["damping"], tuner.best.module
        if course.cheap and course.epochs and (course.planned or self._displaced(task, reached)):
            targets = self._present(task, aimed[damping], course, reached)
            reached = self._finetuned(task, reached, targets, course.epochs, progress)
        return reached

    def _displaced(self, task: Task, module: nn.Module) -> bool:
        """Whether steps cost retained rows half of what a case may lose, or more."""
        before, after = (reading.utility(own, task.objective, task.held_back) for own in (task.model, module))
        return task.objective.utility_loss(before, after) > DISPLACED * task.objective.max_utility_loss

    def _known(self, task: Task, course: "_Course") -> Targets | None:
        """What is aimed at whatever the damping; None where that depends on it.

        A few rows are brought to what members say of them: how this model differs from these by chance goes too, and what
        it costs other rows is little. Of many it would cost more than the trace, which is a mean over them, gains.

        Returns:
            The targets.
        """
        if self.source != REFERENCES:
            return None
        return Targets.of_difference(task) if course.near else Targets.of_references(task)

    def _present(self, task: Task, targets: Targets, course: "_Course", module: nn.Module) -> Targets:
        """Targets for where a model now stands: what members say is made as sure as it is itself on other rows."""
        return targets if course.near or self.source != REFERENCES else targets.with_lead(task, module)

    def _dampings(self, course: "_Course") -> tuple[float, ...]:
        if self.damping is not None:
            return (self.damping,)
        return NEAR if course.near else DAMPINGS

    def _walked(
        self, task: Task, damping: float, targets: Targets, course: "_Course", tuner: Tuner | None, progress: Progress
    ) -> nn.Module:
        """Step and look, and go on where the tuning split still sees much and it helps.

        Args:
            task: what it is about.
            damping: of the steps, as a share of the curvature's largest eigenvalue.
            targets: of them.
            course: how far to go before the first look.
            tuner: is told of what each look found; None where there is none.
            progress: shown each step.

        Returns:
            Where it ended.
        """
        most = course.steps * (1 if self.steps else MORE if task.limited else MOST)
        enough = 1.0 if course.planned else ENOUGH  # passes follow, and more steps cost accuracy
        shift, pull = damping * task.factors.largest, PULL * len(task.forget) / round_size(task)
        here = task.model

        def rounds() -> Iterator[tuple[Data, Tensor]]:
            for number in range(most):
                yield self._present(task, targets, course, here).round(number)

        path = matching(task.model, task.objective, rounds(), task.factors, len(task.retain), shift, pull)
        due, before, reached = course.steps, math.inf, task.model
        progress.start("matching: Newton steps", due)
        for steps, here in enumerate(path, 1):  # where the next round begins
            progress.advance()
            if steps != due and not task.time_is_up:
                continue
            if course.cheap:
                reached = reestimated(weights.clone(here), task)
                task.show(progress, reached)
                progress.finish()
            else:
                progress.finish()
                reached = self._finetuned(task, here, targets, course.epochs, progress)
            if tuner is None:
                break
            tuner.attempt([{"damping": damping, "steps": steps}], lambda _, own=reached: own)  # type: ignore[misc]
            now = tuner.score(tuner.trials[-1])
            if tuner.time_is_up or now <= enough or now > WORTH * before or steps == most:
                break
            due, before = MORE * steps, now
            progress.start("matching: Newton steps", due - steps)
        return reached

    def _finetuned(self, task: Task, module: nn.Module, targets: Targets, epochs: int, progress: Progress) -> nn.Module:
        """A copy, trained on retained rows and matched ones beside them; the mean of its second half's weights."""
        module = weights.clone(module)
        averaged, steps = AveragedModel(module), training_loop.steps(task, len(task.retain), epochs)
        recipe = training_loop.unscheduled(task.oracle.recipe)
        made = training_loop.optimizer(recipe, module, self.rate)
        progress.start("matching: fine-tuning", steps)
        losses = self._losses(task, module, targets, epochs)
        for number, _ in enumerate(training_loop.descend(task, module, made, losses, task.seed)):
            progress.advance()
            if number >= steps // 2:
                averaged.update_parameters(module)
        mean = averaged.module if int(averaged.n_averaged) else module
        reached = reestimated(mean, task)
        task.show(progress, reached)
        progress.finish()
        return reached.eval()

    def _losses(self, task: Task, module: nn.Module, targets: Targets, epochs: int) -> Iterator[Tensor]:
        objective, drawn = (
            matchable(task.objective),
            targets.drawn(math.ceil(BESIDE * task.oracle.recipe.batch_size), task.seed),
        )
        for x, y in training_loop.batches(task.oracle.recipe, module, task.retain, epochs, task.seed):
            own, target = next(drawn)
            outputs = objective.outputs(module, batches.join([x, own]))
            known, matched = outputs[: len(y)], outputs[len(y) :]
            # the mismatch is a gradient by outputs: this product has it
            missed = (matched * objective.mismatch(matched.detach(), target)).sum(1)
            yield objective.losses(known, y).mean() + WEIGHT * missed.mean()


@dataclass(frozen=True)
class _Course:
    """How far to go before the first look, and what follows.

    Attributes:
        steps: Newton steps.
        epochs: passes of fine-tuning after them, where they are needed.
        planned: passes of fine-tuning where it is known beforehand that they are; else 0.
        cheap: whether the steps are cheaper than the passes, which then follow only once a state is chosen.
        near: whether the targets are ``Targets.of_difference``.
    """

    steps: int
    epochs: int
    planned: int
    cheap: bool
    near: bool
