"""MSG: weights with similar gradients on forget and retained rows are drawn anew, then the network is trained on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from neuralyzer.data.request import Guarantee
from neuralyzer.errors import UsageError
from neuralyzer.influence.curvature import Parameters, mean_gradient
from neuralyzer.models import training, weights
from neuralyzer.models.capabilities import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import training_loop, validation
from neuralyzer.unlearning.method import Expectation, Need, Passes, Range
from neuralyzer.unlearning.task import Task

KINDS = (nn.Conv1d, nn.Conv2d, nn.Conv3d), (nn.Linear,)  # layers that are reset; the second where the first are missing


@dataclass(frozen=True)
class Msg:
    """Masked small gradients: the second place of the NeurIPS 2023 unlearning challenge (arXiv 2406.09073).

    ``g`` is the original's gradient on a sample of as many retained rows as there are forget rows, less that on the
    forget rows. In each convolution, the ``share`` of weights with the smallest ``|g|`` is drawn anew (He et al. 2015,
    fan out). Then the network is trained on over the retained rows; a convolution's other weights take ``slow`` times
    each step. The rate rises over the first half of the passes and falls over the second: 1/3, 2/3, 1, 2/3, 1/3 of
    ``rate`` in five.

    Read from the code of Cadet et al. 2024 (arXiv 2410.01276), who named it and reimplemented the challenge's solution.
    Three things differ here. They scale gradients; here the steps are scaled, which is the same for SGD and also works
    for Adam, whose steps do not depend on a gradient's size (an optimizer's weight decay is scaled too). In a network
    without convolutions, which the solution would not change, the linear layers are reset. And ``g`` is the difference
    of means over all rows, where theirs is a sum of batch means.

    Attributes:
        share: share of each layer's weights that is drawn anew.
        slow: share of each step that the layer's other weights take.
        epochs: passes over the retained rows.
        rate: largest learning rate, as a multiple of the recipe's (theirs is 0.001 for SGD, in absolute terms).
    """

    share: float = 0.3
    slow: float = 0.1
    epochs: int = 5
    rate: float = 1.0

    name: ClassVar[str] = "msg"
    summary: ClassVar[str] = "draw weights with the smallest gradients anew, train on over the retained rows"
    paper: ClassVar[str] = "Triantafillou et al. 2024, arXiv 2406.09073; Cadet et al. 2024, arXiv 2410.01276"
    guarantee: ClassVar[Guarantee] = Guarantee.WEAK
    needs: ClassVar[frozenset[Need | Capability]] = frozenset(
        {Need.RETAIN, Need.FORGET, Capability.GRADIENTS, Capability.CONTINUED}
    )
    expected: ClassVar[Expectation] = Expectation(trace=0.52, utility_loss=-0.003)
    repaired: ClassVar[bool] = False
    space: ClassVar[Mapping[str, Range]] = {"share": Range(0.05, 0.95, even=True), "rate": Range(0.03, 3)}

    def __post_init__(self) -> None:
        validation.require(self, share=(0, 1), slow=(0, 1), epochs=(1, inf), rate=(0, inf))

    def obstacle(self, task: Task) -> str | None:
        """Return why it cannot work; None where it can."""
        return None if layers(task.model) else "msg resets convolutions or linear layers, and none here is trained"

    def passes(self, task: Task) -> Passes:
        """Return the work: gradients of the forget rows and of as many retained ones, then the epochs' steps."""
        steps = training_loop.steps(task, len(task.retain), self.epochs)
        return Passes(steps=steps, gradients=len(task.forget) + min(len(task.forget), len(task.retain)))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Reset weights of a copy and train it on."""
        return training_loop.last(self.states(task, progress or Silent()))

    def states(self, task: Task, progress: Progress) -> Iterator[nn.Module]:
        """Return the models after each pass.

        Args:
            task: has model and rows.
            progress: shown each step.

        Returns:
            A copy after each pass.

        Raises:
            UsageError: if there is no layer to reset.
        """
        if (reason := self.obstacle(task)) is not None:
            raise UsageError(reason)
        module, chosen = weights.clone(task.model), smallest(task, self.share)
        redraw(module, chosen, task.seed)
        slowed = _Slowed(module, {name: torch.where(mask, 1.0, self.slow) for name, mask in chosen.items()})
        return training_loop.passes_over(
            task, module, self.rate, task.retain, self.epochs, progress, "training reset weights", slowed.shorten,
            lambda turn: triangle(turn, self.epochs),
        )  # fmt: skip


def layers(module: nn.Module) -> list[str]:
    """Return the names of the trained weights of a network's convolutions, or where it has none, linear layers."""
    return next((list(named) for kinds in KINDS if (named := training.weights_of(module, kinds))), [])


def smallest(task: Task, share: float) -> dict[str, Tensor]:
    """Return which weights of each layer have the most similar gradients on the forget and the retained rows.

    Args:
        task: has model and rows; a sample of retained rows is drawn by its seed.
        share: of each layer's weights.

    Returns:
        Booleans shaped like the weights, by name.
    """
    drawn = np.random.default_rng(task.seed).permutation(len(task.retain))[: len(task.forget)]
    difference = mean_gradient(task.model, task.objective, task.retain.select(np.sort(drawn)))
    difference -= mean_gradient(task.model, task.objective, task.forget)
    sizes = Parameters(task.model).tree(difference.abs())
    masks = {}
    for name in layers(task.model):
        order = sizes[name].flatten().argsort(stable=True)
        mask = torch.zeros(len(order), dtype=torch.bool, device=order.device)
        mask[order[: round(share * len(order))]] = True
        masks[name] = mask.reshape(sizes[name].shape)
    return masks


@torch.no_grad()
def redraw(module: nn.Module, chosen: Mapping[str, Tensor], seed: int) -> None:
    """Draw masked weights of a module anew in place, normal with variance ``2 / fan out``."""
    generator, named = torch.Generator().manual_seed(seed + training_loop.FRESH), dict(module.named_parameters())
    for name, mask in chosen.items():
        fresh = torch.empty(mask.shape, dtype=named[name].dtype)
        nn.init.kaiming_normal_(fresh, mode="fan_out", nonlinearity="relu", generator=generator)
        named[name].copy_(torch.where(mask, fresh.to(mask.device), named[name]))


def triangle(turn: int, epochs: int) -> float:
    """Return a pass's rate as a share of the largest: it rises linearly to the middle pass and falls again."""
    done, rising = turn + 1, (epochs + 1) // 2
    return done / rising if done <= rising else (epochs + 1 - done) / (epochs + 1 - rising)


class _Slowed:
    """Reversal of a part of each training step, for some weights.

    Args:
        module: has the trained parameters.
        shares: share of a step that each weight takes, by parameter name; parameters not named take whole steps.
    """

    def __init__(self, module: nn.Module, shares: Mapping[str, Tensor]) -> None:
        named = dict(module.named_parameters())
        self._parts = [(named[name], named[name].detach().clone(), share) for name, share in shares.items()]

    @torch.no_grad()
    def shorten(self) -> None:
        """Shorten the step that was just taken."""
        for value, before, share in self._parts:
            value.copy_(before.lerp(value, share.to(value.dtype)))
            before.copy_(value)
