"""Any sequence of algorithms as one: ``influence+finetune`` runs the second on what the first left."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from neuralyzer.data.request import Guarantee
from neuralyzer.models.kinds.kind import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning.method import Expectation, Method, Need, Passes, obstacle
from neuralyzer.unlearning.repair import Repair
from neuralyzer.unlearning.task import Task

JOINT = "+"


@dataclass(frozen=True)
class Composed:
    """Each algorithm takes up what the one before it left.

    Its guarantee is the weakest of all of them, and what one of them needs, all need. It is not in the catalogue's list,
    since there is no end of sequences: ``catalogue.make`` makes one of a name with ``+``.

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
        """For the table of methods."""
        return " then ".join(part.name for part in self.parts)

    @property
    def paper(self) -> str:
        """Where each comes from."""
        return "; ".join(part.paper for part in self.parts)

    @property
    def guarantee(self) -> Guarantee:
        """The weakest of the parts'."""
        return min((part.guarantee for part in self.parts), key=lambda own: own.strength)

    @property
    def needs(self) -> frozenset[Need | Capability]:
        """What any of them needs."""
        return frozenset().union(*(part.needs for part in self.parts))

    @property
    def expected(self) -> Expectation:
        """Nobody has measured the sequence: at best what its best part leaves, at the sum of what they cost."""
        known = [part.expected for part in self.parts]
        return Expectation(min(own.trace for own in known), sum(own.utility_loss for own in known))

    @property
    def repaired(self) -> bool:
        """Whether repair follows the last; it follows an earlier one where it is."""
        return self.parts[-1].repaired

    def obstacle(self, task: Task) -> str | None:
        """The first part's that has one."""
        return next((wrong for part in self.parts if (wrong := obstacle(part, task)) is not None), None)

    def passes(self, task: Task) -> Passes:
        """All parts' work, with the repair of earlier ones."""
        total = Passes()
        for part in self.parts:
            total = total + part.passes(task)
            if part.repaired and part is not self.parts[-1]:
                total = total + Repair().passes(task)
        return total

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Run one after the other, until the task's time is up."""
        progress, module = progress or Silent(), task.model
        for part in self.parts:
            module = part.unlearn(task.going_on_from(module), progress)
            if part.repaired and part is not self.parts[-1]:
                module = Repair().mend(module, task, progress)
            if task.time_is_up:
                break
        return module


def composed(name: str, make: Callable[[str], Method]) -> Composed:
    """The sequence of a name with ``+``.

    Args:
        name: such as ``influence+finetune``.
        make: gives the algorithm of a name.

    Returns:
        The sequence.
    """
    return Composed(tuple(make(part) for part in name.split(JOINT)))
