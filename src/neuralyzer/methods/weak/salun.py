"""SalUn: training with random labels in which only those parameters change that are salient for the forget rows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from neuralyzer.data.request import Guarantee
from neuralyzer.influence.curvature import Parameters, mean_gradient
from neuralyzer.models.capabilities import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import relabelling, training_loop
from neuralyzer.unlearning.method import Expectation, Need, Passes, Range
from neuralyzer.unlearning.task import Task


@dataclass(frozen=True)
class SalUn:
    """``theta_u = m (theta_o + change) + (1 - m) theta_o`` (Fan et al. 2023, arXiv 2310.12508, equation 4).

    The mask ``m`` is 1 for the share of parameters with the largest gradient of the forget rows' loss. The change is
    that of further training with random labels. Equation, share, passes and rate from memory.

    Attributes:
        share: share of the parameters that may change.
        epochs: passes.
        rate: learning rate, as a multiple of the recipe's.
    """

    share: float = 0.5
    epochs: int = 10
    rate: float = 0.1

    name: ClassVar[str] = "salun"
    summary: ClassVar[str] = "random labels, on the parameters that the forget rows touch most"
    paper: ClassVar[str] = "Fan et al. 2023, arXiv 2310.12508"
    guarantee: ClassVar[Guarantee] = Guarantee.WEAK
    needs: ClassVar[frozenset[Need | Capability]] = frozenset(
        {Need.RETAIN, Need.FORGET, Need.CLASSES, Capability.GRADIENTS, Capability.CONTINUED}
    )
    expected: ClassVar[Expectation] = Expectation(trace=0.58, utility_loss=0.005)
    repaired: ClassVar[bool] = False
    space: ClassVar[Mapping[str, Range]] = {"share": Range(0.02, 1), "rate": Range(0.01, 3)}

    def passes(self, task: Task) -> Passes:
        """Return the work: the forget rows' gradient, then the epochs' steps."""
        steps = training_loop.steps(task, len(task.oracle.data), self.epochs)
        return Passes(steps=steps, gradients=len(task.forget))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Train a copy of the original on."""
        return training_loop.last(self.states(task, progress or Silent()))

    def states(self, task: Task, progress: Progress) -> Iterator[nn.Module]:
        """Return the models after each pass."""
        return relabelling.states(task, self.epochs, self.rate, progress, saliency(task, self.share))


def saliency(task: Task, share: float) -> dict[str, Tensor]:
    """Return which parameters have the largest gradients of the forget rows' loss.

    Args:
        task: has model and forget rows.
        share: of all trained parameters together.

    Returns:
        Booleans shaped like the parameters, by name.
    """
    magnitudes = mean_gradient(task.model, task.objective, task.forget).abs()
    count = max(1, round(share * len(magnitudes)))
    threshold = magnitudes.kthvalue(len(magnitudes) - count + 1).values
    return Parameters(task.model).tree(magnitudes >= threshold)
