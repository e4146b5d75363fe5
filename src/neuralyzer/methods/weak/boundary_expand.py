"""Boundary expanding: forget rows are given to a shadow class of their own, which is then cut off."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
from torch import Tensor, nn

from neuralyzer.data.request import Guarantee
from neuralyzer.errors import UsageError
from neuralyzer.models import weights
from neuralyzer.models.calling import call
from neuralyzer.models.kinds.kind import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import training_loop, validation
from neuralyzer.unlearning.method import Expectation, Need, Passes, Range
from neuralyzer.unlearning.task import Task

OBSTACLE = "boundary-expand adds a node to a last linear layer that gives the logits, and this model has none"


@dataclass(frozen=True)
class BoundaryExpand:
    """Train on over forget rows as class ``C + 1``, then prune it (Chen et al. 2023, arXiv 2303.11570, section 3.4).

    The last layer gets a shadow node ``s(x) = w h(x) + b`` on the features ``h`` that it reads, drawn as Glorot and Bengio
    (2010) have it. Network and node descend the cross-entropy of ``(z(x), s(x))`` against the shadow class on forget
    rows alone; what is left without the node is the result. The node stands beside the layer and not in it, which is the
    same and leaves tied weights and single logits as they are.

    The paper from memory; the node's place and draw, and the passes, were read from its authors' code. Their rate of 0.00001 for
    SGD is absolute; the default here is that of ``boundary-shrink``.

    Attributes:
        epochs: passes over the forget rows.
        rate: learning rate, as a multiple of the recipe's.
    """

    epochs: int = 10
    rate: float = 0.01

    name: ClassVar[str] = "boundary-expand"
    summary: ClassVar[str] = "give forget rows to a shadow class, then cut it off"
    paper: ClassVar[str] = "Chen et al. 2023, arXiv 2303.11570"
    guarantee: ClassVar[Guarantee] = Guarantee.WEAK
    needs: ClassVar[frozenset[Need | Capability]] = frozenset({Need.FORGET, Need.CLASSES, Capability.CONTINUED})
    expected: ClassVar[Expectation] = Expectation(trace=0.78, utility_loss=0.02)
    repaired: ClassVar[bool] = False
    for_comparison: ClassVar[bool] = True
    space: ClassVar[Mapping[str, Range]] = {"rate": Range(0.001, 3)}

    def __post_init__(self) -> None:
        validation.require(self, epochs=(1, inf), rate=(0, inf))

    def obstacle(self, task: Task) -> str | None:
        """Why it cannot work; None where it can."""
        return OBSTACLE if classifier(weights.clone(task.model), task) is None else None

    def passes(self, task: Task) -> Passes:
        """The epochs' steps, and what is read to show each."""
        return Passes(steps=training_loop.steps(task, len(task.forget), self.epochs), forwards=self.epochs * task.shown)

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Expand a copy, train it on and cut it back."""
        return training_loop.last(self.states(task, progress or Silent()))

    def states(self, task: Task, progress: Progress) -> Iterator[nn.Module]:
        """The model after each pass, cut back.

        Args:
            task: gives model and rows; the node is drawn by its seed.
            progress: shown each step.

        Returns:
            A copy after each pass.

        Raises:
            UsageError: if no last layer gives the logits.
        """
        module = weights.clone(task.model)
        layer = classifier(module, task)
        if layer is None:
            raise UsageError(OBSTACLE)
        node = shadow(layer, task.seed)
        made = training_loop.optimizer(task.oracle.recipe, nn.ModuleList([module, node]), self.rate)
        return training_loop.passes(
            task, module, made, lambda turn: _losses(task, module, layer, node, turn), self.epochs, progress,
            "expanding the boundary", training_loop.steps(task, len(task.forget), self.epochs),
        )  # fmt: skip


def classifier(module: nn.Module, task: Task) -> nn.Linear | None:
    """The linear layer of a module whose output is the module's own; None where there is none."""
    x, _ = task.forget.gather([0])
    found: list[tuple[nn.Linear, Tensor]] = []

    def note(layer: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        if isinstance(layer, nn.Linear) and given[0].ndim == 2:
            found.append((layer, result))

    hooks = [layer.register_forward_hook(note) for layer in module.modules() if isinstance(layer, nn.Linear)]
    try:
        with torch.no_grad():
            given = call(module.eval(), x)
    finally:
        for hook in hooks:
            hook.remove()
    if not found or found[-1][1].numel() != given.numel() or not found[-1][1].flatten().equal(given.flatten()):
        return None
    return found[-1][0]


def shadow(layer: nn.Linear, seed: int) -> nn.Linear:
    """A node more for a layer, drawn as a row of one that has it: normal with variance ``2 / (fan in + fan out)``."""
    with torch.random.fork_rng(devices=[]):  # the layer's own draw, which is drawn over
        node = nn.Linear(layer.in_features, 1, bias=layer.bias is not None, dtype=layer.weight.dtype)
    generator = torch.Generator().manual_seed(seed + training_loop.FRESH)
    with torch.no_grad():
        node.weight.normal_(0, (2 / (layer.in_features + layer.out_features + 1)) ** 0.5, generator=generator)
        if layer.bias is not None:
            node.bias.zero_()
    return node.to(layer.weight.device)


@contextmanager
def read(layer: nn.Linear) -> Iterator[list[Tensor]]:
    """What a layer is given within the context, call by call."""
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        yield seen
    finally:
        hook.remove()


def _losses(task: Task, module: nn.Module, layer: nn.Linear, node: nn.Linear, turn: int) -> Iterator[Tensor]:
    seed = training_loop.seed_of(task, turn)
    for x, y in training_loop.batches(task.oracle.recipe, module, task.forget, 1, seed):
        with read(layer) as seen:
            logits = task.objective.outputs(module, x)
        widened = torch.cat([logits, node(seen[-1])], 1)
        yield task.objective.losses(widened, torch.full_like(y, logits.shape[1])).mean()
