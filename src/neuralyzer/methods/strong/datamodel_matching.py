"""Datamodel matching: the outputs of models that never saw the rows are the target, by Newton steps and fine-tuning."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from neuralyzer.data.request import Guarantee
from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError
from neuralyzer.influence.matching import PRODUCTS, PULL, matching
from neuralyzer.models import weights
from neuralyzer.models.capabilities import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import matched, training_loop
from neuralyzer.unlearning.batch_statistics import reestimated
from neuralyzer.unlearning.method import Expectation, Need, Passes, missing_factors, missing_target
from neuralyzer.unlearning.targets import Targets, round_size
from neuralyzer.unlearning.task import Task
from neuralyzer.unlearning.tuner import ENOUGH, Tuner

# The tuned constants, beside ``matched.MATCHED``; decision 35 has what each is worth, and the eight that went.
DAMPING = 1e-4  # share of the curvature's largest eigenvalue
STEPS = 3  # Newton steps before the first evaluation, where they cost no more than the fine-tuning
SHARE, MOST_EPOCHS = 0.05, 3  # passes of fine-tuning: share of the recipe's, and most
MANY = 100  # forget rows from which a model's own chance is lost in their mean trace, so that it may stay

REFERENCES, INFLUENCE = "references", "influence"
PRODUCT = 7 / 3  # what a row's product with the curvature costs, in gradients: forward mode, forward, backward
SMALLEST_STEP = 64  # rows that a training step costs at least: a smaller one is mostly overhead (decision 24)


@dataclass(frozen=True)
class DatamodelMatching:
    """Match what models that never saw the forget rows output on them (Georgiev et al. 2024, arXiv 2410.23232).

    The paper predicts those outputs by a datamodel and fine-tunes towards them and, on retained rows, towards what is
    known there; that is from memory. Here the targets of few rows are the outputs of the tuning split's members that
    never saw a row, made as sure as the model is on rows that nobody saw. The targets of many rows are, as in the paper,
    the model's own outputs less the effect of these rows (``unlearning.targets``). Without references they are what
    influence functions predict (``influence.removal.predicted_outputs``).

    Newton steps come first, in the metric of the whole data's curvature (``influence.matching``): they change most what
    other rows leave free, so that features forget, not outputs alone. Fine-tuning follows, on retained rows by their
    labels and matched rows beside them. Its result is the mean of the weights over its second half (Izmailov et al.
    2018, arXiv 1803.05407). Where the recipe augments, new copies are matched in place of rows.

    Attributes:
        source: of the targets: ``references`` or ``influence``.
        damping: ``lambda`` as a share of the curvature's largest eigenvalue.
        steps: Newton steps; where None as many as cost what the fine-tuning does, from one to three, and doubled as
            long as the tuning split sees less trace after them.
        epochs: passes over the retained rows; where None a twentieth of the recipe's, from one to three.
        rate: their learning rate, as a multiple of the recipe's; where None 1, of texts a tenth.
    """

    source: str = REFERENCES
    damping: float = DAMPING
    steps: int | None = None
    epochs: int | None = None
    rate: float | None = None

    name: ClassVar[str] = "datamodel-matching"
    summary: ClassVar[str] = (
        "Newton steps and fine-tuning towards what references that never saw the rows output on them"
    )
    paper: ClassVar[str] = "Georgiev et al. 2024, arXiv 2410.23232"
    guarantee: ClassVar[Guarantee] = Guarantee.STRONG
    needs: ClassVar[frozenset[Need | Capability]] = frozenset(
        {
            Need.RETAIN, Need.FORGET, Capability.GRADIENTS, Capability.CONTINUED, Capability.CURVATURE,
            Capability.MATCHING,
        }
    )  # fmt: skip
    expected: ClassVar[Expectation] = Expectation(trace=0.05, utility_loss=-0.004)
    repaired: ClassVar[bool] = False
    anytime: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.source not in (REFERENCES, INFLUENCE):
            raise UsageError(f"source is {self.source!r}; it must be {REFERENCES} or {INFLUENCE}")

    def obstacle(self, task: Task) -> str | None:
        """Return why the method cannot work on this task: references or the curvature's factors can be missing."""
        return (missing_target(task) if self.source == REFERENCES else None) or missing_factors(task)

    def passes(self, task: Task) -> Passes:
        """Return the factors, the steps with one doubling and an evaluation each, and the fine-tuning.

        How often steps are doubled is known only by the first evaluation. In a limited time they are doubled only if the
        rows are still detected, and not at all where even the first steps are dear; and the last of most passes is
        taken as far as it fits.
        """
        steps, epochs = self._schedule(task)
        epochs -= task.limited and epochs == MOST_EPOCHS
        updates = training_loop.steps(task, len(task.retain), epochs)
        finetuning = matched.work(task, updates)
        stepping = Passes(products=steps * PRODUCTS * round_size(task), solves=steps * PRODUCTS)
        factors = Passes(factorings=not task.factors_kept)
        if not self._evaluated(task, steps):
            return factors + stepping + finetuning
        evaluation = Passes(forwards=2 * len(task.held_back), readings=1)
        return factors + (stepping + evaluation) * (1 if task.limited else 2) + finetuning

    def _schedule(self, task: Task) -> tuple[int, int]:
        """Return the Newton steps before the first evaluation, and the passes of fine-tuning after the last."""
        epochs = min(MOST_EPOCHS, max(1, round(SHARE * task.oracle.recipe.epochs)))
        cost = training_loop.steps(task, len(task.retain), epochs) * max(task.oracle.recipe.batch_size, SMALLEST_STEP)
        affordable = round(cost / (PRODUCT * PRODUCTS * round_size(task)))
        return self.steps or min(STEPS, max(1, affordable)), epochs if self.epochs is None else self.epochs

    def _evaluated(self, task: Task, steps: int) -> bool:
        """Return whether steps are evaluated and doubled; in a limited time only where an evaluation is not dear."""
        return self.steps is None and task.references is not None and (not task.limited or steps == STEPS)

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Take Newton steps, doubled while the tuning split sees that they help, then fine-tune the best state."""
        progress = progress or Silent()
        progress.start("matching: curvature", 1)
        _ = task.factors
        progress.advance()
        progress.finish()
        targets, epochs = self._targets(task), self._schedule(task)[1]
        reached = self._stepped(task, targets, progress)
        if not epochs:
            return reached
        updates = training_loop.steps(task, len(task.retain), epochs)
        present = self._present(task, targets, reached)
        return matched.finetuned(
            task, reached, present, updates, matched.by_recipe(task, self.rate), progress, "matching: fine-tuning"
        )

    def _targets(self, task: Task) -> Targets:
        """Return the targets where the model stands at first.

        Few rows are matched to members' outputs: how this model differs from members by chance goes too, at little cost.
        For many rows it would cost other rows more than the trace gains, which is a mean over them.
        """
        if self.source == INFLUENCE:
            return Targets.of_influence(task, self.damping * task.factors.largest)
        return Targets.of_references(task) if _few(task) else Targets.of_difference(task)

    def _present(self, task: Task, targets: Targets, module: nn.Module) -> Targets:
        """Return the targets for where a model now stands: members' outputs are made as sure as it is on other rows."""
        return targets.with_lead(task, module) if self.source == REFERENCES and _few(task) else targets

    def _stepped(self, task: Task, targets: Targets, progress: Progress) -> nn.Module:
        """Return the best state of those that were evaluated; the first where none is."""
        due = self._schedule(task)[0]
        tuner = Tuner(task) if self._evaluated(task, due) and task.traceable else None
        last = 2 * due if task.limited else math.inf  # so that a killed case ends where an unkilled one does
        enough = 1.0 if task.limited else ENOUGH
        shift, pull = self.damping * task.factors.largest, PULL * len(task.forget) / round_size(task)
        here, best, before = task.model, task.model, math.inf

        def rounds() -> Iterator[tuple[Data, Tensor]]:
            number = 0
            while True:
                yield self._present(task, targets, here).round(number)
                number += 1

        path = matching(task.model, task.objective, rounds(), task.factors, len(task.retain), shift, pull)
        progress.start("matching: Newton steps", due)
        for steps, here in enumerate(path, 1):  # where the next round begins
            progress.advance()
            if steps != due and not task.time_is_up:
                continue
            state = reestimated(weights.clone(here), task)
            task.show(progress, state)
            progress.finish()
            if tuner is None:
                return state
            tuner.attempt([{"damping": self.damping, "steps": steps}], lambda _, own=state: own)  # type: ignore[misc]
            now = tuner.score(tuner.trials[-1])
            if now < before:
                best = state
            if now <= enough or before - now < ENOUGH or steps >= last or task.time_is_up:  # a smaller gain is noise
                break
            due, before = 2 * steps, now
            progress.start("matching: Newton steps", due - steps)
        return best


def _few(task: Task) -> bool:
    """Return whether the forget rows are so few that a model's own chance shows in their mean trace."""
    return len(task.forget) < MANY
