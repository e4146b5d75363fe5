"""CF-k: the last layers are trained on over the retained rows, the others stay."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from neuralyzer.data.request import Guarantee
from neuralyzer.methods import continuing, last_layers
from neuralyzer.methods.method import Expectation, Need, Passes
from neuralyzer.methods.task import Task
from neuralyzer.models import weights
from neuralyzer.progress import Progress, Silent


@dataclass(frozen=True)
class CfK:
    """Catastrophically forget the last ``k`` layers (Goel et al. 2022, arXiv 2201.06640, section 4, from memory).

    Attributes:
        layers: ``k``.
        epochs: passes over the retained rows.
        rate: learning rate, as a multiple of the recipe's.
    """

    layers: int = 1
    epochs: int = 10
    rate: float = 1.0

    name: ClassVar[str] = "cf-k"
    summary: ClassVar[str] = "train the last layers on over the retained rows"
    paper: ClassVar[str] = "Goel et al. 2022, arXiv 2201.06640"
    guarantee: ClassVar[Guarantee] = Guarantee.WEAK
    needs: ClassVar[frozenset[Need]] = frozenset({Need.RETAIN})
    expected: ClassVar[Expectation] = Expectation(trace=1.05, utility_loss=-0.008)
    repaired: ClassVar[bool] = False

    def passes(self, task: Task) -> Passes:
        """The epochs' steps."""
        return Passes(partial=continuing.steps(task, len(task.retain), self.epochs))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Train the last layers of a copy."""
        module = weights.clone(task.model)
        return train_last(module, self.layers, self.epochs, self.rate, task, progress or Silent())


def train_last(module: nn.Module, layers: int, epochs: int, rate: float, task: Task, progress: Progress) -> nn.Module:
    """Train the last layers of a module in place on retained rows, BatchNorm of the others in evaluation mode.

    Args:
        module: is changed.
        layers: how many of the last.
        epochs: passes.
        rate: learning rate, as a multiple of the recipe's.
        task: gives rows and recipe.
        progress: shown each step.

    Returns:
        The module, in evaluation mode.
    """
    chosen = set(last_layers.chosen(task, layers))
    before = {name: value.requires_grad for name, value in module.named_parameters()}
    for name, value in module.named_parameters():
        value.requires_grad_(name in chosen)

    def losses() -> Iterator[Tensor]:
        for x, y in continuing.batches(task.oracle.recipe, module, task.retain, epochs, task.seed):
            _hold(module, chosen)
            yield task.objective.losses(task.objective.outputs(module, x), y).mean()

    steps = continuing.steps(task, len(task.retain), epochs)
    continuing.trained(task, module.train(), rate, losses(), progress, "training the last layers", steps)
    for name, value in module.named_parameters():
        value.requires_grad_(before[name])
    return module


def _hold(module: nn.Module, chosen: set[str]) -> None:
    """Layers that are not trained keep their running statistics."""
    owners = {name.rpartition(".")[0] for name in chosen}
    for name, layer in module.named_modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and name not in owners:
            layer.eval()
