"""AMUN: training on adversarial examples of the forget rows, which moves the decision boundary towards them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import ClassVar

import torch
from torch import Tensor, nn

from neuralyzer.data import batches
from neuralyzer.data.request import Guarantee
from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError
from neuralyzer.models import weights
from neuralyzer.models.capabilities import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import adversarial, training_loop, validation
from neuralyzer.unlearning.method import Expectation, Need, Passes, Range
from neuralyzer.unlearning.relabelling import together
from neuralyzer.unlearning.task import Task

OBSTACLE = "amun moves rows along their gradient, and these rows hold whole numbers"


@dataclass(frozen=True)
class Amun:
    """Train on over ``D_R`` and ``D_A``, the adversarial examples of ``D_F`` (Ebrahimpour-Boroojeny et al. 2025).

    ``D_A`` has for each ``(x, y)`` of ``D_F`` the pair ``(x', f(x'))``. The attack takes steps of ``r / 10`` up the
    loss of ``(x, y)`` along its normalised gradient. It stays within the L2 ball of radius ``r`` around ``x`` and
    within the range of the training rows (projected gradient descent, Madry et al. 2017), and ends where ``f(x') !=
    y``. After ``steps`` without success ``r`` is doubled (algorithm 1). A row that the model classifies wrongly is its
    own adversarial example. The labels of forget rows are not trained on.

    Algorithm 1 is from memory; attack and training were read from the authors' code. To save time they start later rows
    at the median radius of the first 50. Here each row starts at the first radius, and so ends nearer.

    Attributes:
        radius: the first ``r``, as a share of the training rows' root mean square distance from their mean (the
            authors' is 0.01 for images between 0 and 1, which is 0.0007 of it).
        steps: of the attack before the radius is doubled.
        retained: whether ``D_R`` is trained on too, beside ``D_A``.
        epochs: passes.
        fall: the rate is divided by 10 after each so many passes.
        rate: learning rate, as a multiple of the recipe's (the authors' is 0.05, with 0.1 in training).
    """

    radius: float = 0.001
    steps: int = 50
    retained: bool = True
    epochs: int = 10
    fall: int = 5
    rate: float = 0.5

    name: ClassVar[str] = "amun"
    summary: ClassVar[str] = "train on over the nearest adversarial examples of the forget rows, and retained rows"
    paper: ClassVar[str] = "Ebrahimpour-Boroojeny et al. 2025, arXiv 2503.00917"
    guarantee: ClassVar[Guarantee] = Guarantee.WEAK
    needs: ClassVar[frozenset[Need | Capability]] = frozenset(
        {Need.RETAIN, Need.FORGET, Need.CLASSES, Capability.CONTINUED, Capability.INPUT_GRADIENTS}
    )
    expected: ClassVar[Expectation] = Expectation(trace=0.76, utility_loss=0.003)
    repaired: ClassVar[bool] = False
    space: ClassVar[Mapping[str, Range]] = {"rate": Range(0.01, 3)}

    def __post_init__(self) -> None:
        validation.require(self, radius=(0, inf), steps=(1, inf), epochs=(1, inf), fall=(1, inf), rate=(0, inf))

    def obstacle(self, task: Task) -> str | None:
        """Return why it cannot work; None where it can."""
        return None if batches.real(task.forget.gather([0])[0]) else OBSTACLE

    def passes(self, task: Task) -> Passes:
        """Return the work: the rows' range, the gradients of an attack with half its doublings, the epochs' steps."""
        attacked = self.steps * adversarial.DOUBLINGS // 2 * len(task.forget)
        rows = len(task.oracle.data) if self.retained else len(task.forget)
        steps = training_loop.steps(task, rows, self.epochs)
        return Passes(steps=steps, gradients=attacked, forwards=len(task.oracle.data))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Attack the original, then train a copy of it on."""
        return training_loop.last(self.states(task, progress or Silent()))

    def states(self, task: Task, progress: Progress) -> Iterator[nn.Module]:
        """Train a copy pass by pass.

        Args:
            task: has model and rows.
            progress: shown the attack and each step.

        Yields:
            A copy after each pass.

        Raises:
            UsageError: if the rows have no gradient.
        """
        if (reason := self.obstacle(task)) is not None:
            raise UsageError(reason)
        module, adversarial_rows = weights.clone(task.model), adversaries(task, self.radius, self.steps, progress)
        rows = together(task.retain, adversarial_rows) if self.retained else adversarial_rows
        yield from training_loop.passes(
            task, module, self.rate, lambda turn: self._losses(task, module, rows, turn), self.epochs, progress,
            "training on adversarial examples", training_loop.steps(task, len(rows), self.epochs),
            schedule=lambda turn: 0.1 ** (turn // self.fall),
        )  # fmt: skip

    def _losses(self, task: Task, module: nn.Module, rows: Data, turn: int) -> Iterator[Tensor]:
        """Compute the losses of a pass, with retained rows augmented."""
        recipe, seed = task.oracle.recipe, training_loop.seed_of(task, turn)
        plain, generator = replace(recipe, augment=None), torch.Generator().manual_seed(seed + 1)
        for positions, (inputs, y) in training_loop.numbered_batches(plain, module, rows, 1, seed):
            x, retained = batches.features(inputs), torch.from_numpy(positions < len(rows) - len(task.forget))
            if recipe.augment is not None and retained.any():  # an augmented adversarial example would not be one
                x[retained] = recipe.augment(x[retained], generator)
            yield task.objective.losses(task.objective.outputs(module, x), y).mean()


def adversaries(task: Task, radius: float, steps: int, progress: Progress) -> Data:
    """Return the nearest adversarial example of each forget row, with the class that the original predicts for it.

    Args:
        task: has model and rows.
        radius: of the first ball, as a share of the training rows' root mean square distance from their mean.
        steps: of the attack before the radius is doubled.
        progress: shown each chunk of rows.

    Returns:
        One row for each forget row, in their order.
    """
    low, high, distance = adversarial.extent(task.oracle.data)
    module = weights.clone(task.model).eval().requires_grad_(False)
    progress.start("adversarial examples", -(-len(task.forget) // adversarial.CHUNK))
    examples, predicted = [], []
    for inputs, y in task.forget.chunks(adversarial.CHUNK):
        x = batches.features(inputs)
        moved, chosen = adversarial.nearest(module, task.objective, x, y, radius * distance, steps, (low, high), task)
        examples.append(moved)
        predicted.append(chosen.reshape(y.shape))
        progress.advance()
    progress.finish()
    return Data.from_arrays(torch.cat(examples).numpy(), torch.cat(predicted).numpy(), ids=task.forget.ids)
