"""A sequence of algorithms as one: ``influence+finetune`` runs the second on the result of the first."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from neuralyzer.data.request import Guarantee
from neuralyzer.models.capabilities import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning.method import Expectation, Method, Need, Passes, obstacle
from neuralyzer.unlearning.repair import Repair
from neuralyzer.unlearning.task import Task

JOINT = "+"  # between the names of a sequence


@dataclass(frozen=True)
class Composed:
    """A sequence of algorithms, each of which starts from the result of the one before.

    Its guarantee is the weakest of theirs, and its needs are all of theirs. The catalogue does not list sequences,
    since there are infinitely many; ``catalogue.make`` makes one from a name with ``+``.

    Attributes:
        parts: the algorithms in order, two or more.
    """

    parts: tuple[Method, ...]

    @property
    def name(self) -> str:
        """The parts' names, joined."""
        return JOINT.join(part.name for part in self.parts)

    @property
    def summary(self) -> str:
        """The parts' names, as a line for the table of methods."""
        return " then ".join(part.name for part in self.parts)

    @property
    def paper(self) -> str:
        """The parts' sources."""
        return "; ".join(part.paper for part in self.parts)

    @property
    def guarantee(self) -> Guarantee:
        """The weakest of the parts' guarantees."""
        return min((part.guarantee for part in self.parts), key=lambda guarantee: guarantee.strength)

    @property
    def needs(self) -> frozenset[Need | Capability]:
        """The needs of all parts."""
        return frozenset().union(*(part.needs for part in self.parts))

    @property
    def expected(self) -> Expectation:
        """The smallest trace of the parts, and the sum of their losses of utility; no sequence was measured."""
        parts = [part.expected for part in self.parts]
        return Expectation(min(part.trace for part in parts), sum(part.utility_loss for part in parts))

    @property
    def repaired(self) -> bool:
        """Whether repair follows the last part; that of earlier parts is in ``unlearn``."""
        return self.parts[-1].repaired

    def obstacle(self, task: Task) -> str | None:
        """Return the first obstacle of a part; None where there is none."""
        return next((reason for part in self.parts if (reason := obstacle(part, task)) is not None), None)

    def passes(self, task: Task) -> Passes:
        """Return the work of all parts, with the repair of earlier ones."""
        total = Passes()
        for part in self.parts:
            total = total + part.passes(task)
            if part.repaired and part is not self.parts[-1]:
                total = total + Repair().passes(task)
        return total

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Run the parts in turn, until the task's time limit."""
        progress, module = progress or Silent(), task.model
        for part in self.parts:
            module = part.unlearn(task.going_on_from(module), progress)
            if part.repaired and part is not self.parts[-1]:
                module = Repair().mend(module, task, progress)
            if task.time_is_up:
                break
        return module


def composed(name: str, make: Callable[[str], Method]) -> Composed:
    """Return the sequence that a name with ``+`` stands for.

    Args:
        name: such as ``influence+finetune``.
        make: returns the algorithm of a name.

    Returns:
        The sequence.
    """
    return Composed(tuple(make(part) for part in name.split(JOINT)))
