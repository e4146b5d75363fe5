"""A reference model that never saw the forget rows replaces the original, after training on the rows it lacked."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import ClassVar, NamedTuple

import numpy as np
from torch import Tensor, nn

from neuralyzer.data.request import Guarantee
from neuralyzer.data.rows import Data
from neuralyzer.models import weights
from neuralyzer.models.capabilities import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import training_loop, validation
from neuralyzer.unlearning.method import Expectation, Need, Passes, require_possible
from neuralyzer.unlearning.task import Task
from neuralyzer.unlearning.training_audit import AuditObserver


@dataclass(frozen=True)
class AdoptReference:
    """Train the tuning member that held no forget row, and lacks the fewest others, on the rows that it lacks.

    Each pass is over the retained rows that the member lacked and a random sample of ``mix`` times as many rows that it
    had, so that it does not forget these. The rate falls linearly from pass to pass. Neither the member nor any step
    saw a forget row, nor a row that an earlier request erased. So the weights come from retained rows alone, but their
    distribution is not that of retraining. Members of the evaluation split are not used: they judge the result.

    The algorithm is this project's own. It is similar to SISA (Bourtoule et al. 2021) with one shard left out, but uses
    models that were trained for another purpose. Its settings are not searched: the null of the tuning split includes
    the adopted member, so that it cannot judge a model made from it.

    Attributes:
        epochs: passes over the lacked rows.
        mix: number of rows that the member had, for each row that it lacked.
        rate: first learning rate, as a multiple of the recipe's.
    """

    epochs: int = 10
    mix: float = 1.0
    rate: float = 1.0

    name: ClassVar[str] = "adopt-reference"
    summary: ClassVar[str] = "a reference that never saw the rows learns what it lacked and takes the model's place"
    paper: ClassVar[str] = "this project, after Bourtoule et al. 2021, arXiv 1912.03817"
    guarantee: ClassVar[Guarantee] = Guarantee.CLEAN
    needs: ClassVar[frozenset[Need | Capability]] = frozenset({Need.RETAIN, Need.REFERENCES, Capability.CONTINUED})
    expected: ClassVar[Expectation] = Expectation(trace=0.25, utility_loss=0.002)
    repaired: ClassVar[bool] = False

    def __post_init__(self) -> None:
        validation.require(self, epochs=(1, inf), mix=(0, inf), rate=(0, inf))

    def obstacle(self, task: Task) -> str | None:
        """Return why it cannot work; None where it can."""
        if task.references is None:
            return "there are no references, so that none can be adopted"
        if not any(task.references.kept):
            return "no references' weights were kept from which erased rows are absent; make them with keep_weights"
        if adoptable(task) is None:
            return "no reference of the tuning split whose weights were kept lacks all the rows to forget"
        return None

    def passes(self, task: Task) -> Passes:
        """Return the steps of its passes; none where no member can be adopted."""
        chosen = adoptable(task)
        if chosen is None:
            return Passes()
        return Passes(steps=self._steps(task, chosen))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Adopt a member and train it on; the training audit records the member's rows and each step."""
        return training_loop.last(self.states(task, progress or Silent()))

    def states(self, task: Task, progress: Progress) -> Iterator[nn.Module]:
        """Train the adopted member pass by pass; it is unchanged where it lacks no row.

        Args:
            task: with references whose weights were kept.
            progress: shown each step.

        Yields:
            A copy of the member after each pass.

        Raises:
            UsageError: if no member can be adopted.
        """
        require_possible(self, task)
        chosen = adoptable(task)
        assert chosen is not None and task.references is not None
        path = task.references.kept[chosen.number]
        assert path is not None
        module = weights.load_into(task.oracle.recipe.module(), path).eval()
        task.training_audit.note(set(task.oracle.data.ids[chosen.had].tolist()))
        if not len(chosen.lacked):
            yield module
            return
        step = _PendingStep()
        yield from training_loop.passes(
            task, module, self.rate, lambda turn: self._losses(task, module, chosen, step, turn), self.epochs, progress,
            "teaching a reference what it lacked", self._steps(task, chosen), step.report,
            lambda turn: 1 - turn / self.epochs,
        )  # fmt: skip

    def _steps(self, task: Task, chosen: "Member") -> int:
        """Return the number of training steps."""
        rows = len(chosen.lacked) + self._repeated(chosen)
        return training_loop.steps(task, rows, self.epochs) if len(chosen.lacked) else 0

    def _repeated(self, chosen: "Member") -> int:
        """Return how many of the rows that the member had are trained on in each pass."""
        return round(min(self.mix * len(chosen.lacked), len(chosen.had)))

    def _losses(
        self, task: Task, module: nn.Module, chosen: "Member", step: "_PendingStep", turn: int
    ) -> Iterator[Tensor]:
        """Compute the losses of a pass; each batch is reported to the audit once its step was taken."""
        seed = training_loop.seed_of(task, turn)
        repeated = np.random.default_rng(seed).permutation(chosen.had)[: self._repeated(chosen)]
        rows: Data = task.oracle.data.select(np.sort(np.concatenate([chosen.lacked, repeated])))
        observer = task.training_audit.watch(rows)
        for positions, (x, y) in training_loop.numbered_batches(task.oracle.recipe, module, rows, 1, seed):
            step.prepare(observer, positions)
            yield task.objective.losses(task.objective.outputs(module, x), y).mean()


class Member(NamedTuple):
    """A reference that may be adopted.

    Attributes:
        number: its index in the tuning split.
        had: positions of the retained rows that it was trained on.
        lacked: positions of the other retained rows.
    """

    number: int
    had: np.ndarray
    lacked: np.ndarray


def adoptable(task: Task) -> Member | None:
    """Return the tuning member that held no forget row and lacks the fewest others; the first of equals, or None."""
    if task.references is None:
        return None
    retained, candidates = np.ones(len(task.oracle.data), dtype=bool), []
    retained[task.positions] = False
    for number, path in enumerate(task.references.kept):
        held = task.references.held(number)
        if path is not None and not held[task.positions].any():
            candidates.append(Member(number, np.flatnonzero(held), np.flatnonzero(retained & ~held)))
    return min(candidates, key=lambda member: len(member.lacked), default=None)


class _PendingStep:
    """The rows of the next training step, which are reported to the training audit once the step was taken."""

    def prepare(self, observer: AuditObserver, positions: np.ndarray) -> None:
        """Remember the rows of the step that comes next."""
        self._observer, self._positions = observer, positions

    def report(self) -> None:
        """Report the step, which was taken."""
        self._observer.step(self._positions)
