"""Boundary expanding: forget rows are trained as an additional shadow class, which is then removed."""

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
from neuralyzer.models.capabilities import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import training_loop, validation
from neuralyzer.unlearning.method import Expectation, Need, Passes, Range
from neuralyzer.unlearning.task import Task

OBSTACLE = "boundary-expand adds a node to a last linear layer that gives the logits, and this model has none"


@dataclass(frozen=True)
class BoundaryExpand:
    """Train on over forget rows as class ``C + 1``, then prune it (Chen et al. 2023, arXiv 2303.11570, section 3.4).

    The last layer gets a shadow node ``s(x) = w h(x) + b`` on its inputs ``h``, initialised as by Glorot and Bengio
    (2010). Network and node descend the cross-entropy of ``(z(x), s(x))`` with the shadow class as label, on forget
    rows alone. The result is the network without the node. The node is a layer of its own beside the last one, which is
    equivalent and does not change tied weights and single logits.

    The paper is from memory. The node's place and initialisation, and the passes, were read from its authors' code.
    Their rate of 0.00001 for SGD is absolute; the default here is that of ``boundary-shrink``.

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
        """Return why it cannot work; None where it can."""
        return OBSTACLE if classifier(weights.clone(task.model), task) is None else None

    def passes(self, task: Task) -> Passes:
        """Return the steps of its epochs, and the rows that are read to show the losses after each."""
        return Passes(steps=training_loop.steps(task, len(task.forget), self.epochs), forwards=self.epochs * task.shown)

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Add the node to a copy, train it on and remove the node."""
        return training_loop.last(self.states(task, progress or Silent()))

    def states(self, task: Task, progress: Progress) -> Iterator[nn.Module]:
        """Return the models after each pass, without the node.

        Args:
            task: has model and rows; the node is drawn by its seed.
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
        optimizer = training_loop.optimizer(task.oracle.recipe, nn.ModuleList([module, node]), self.rate)
        return training_loop.passes(
            task, module, optimizer, lambda turn: _losses(task, module, layer, node, turn), self.epochs, progress,
            "expanding the boundary", training_loop.steps(task, len(task.forget), self.epochs),
        )  # fmt: skip


def classifier(module: nn.Module, task: Task) -> nn.Linear | None:
    """Return the linear layer whose output is that of the module; None where there is none."""
    x, _ = task.forget.gather([0])
    calls: list[tuple[nn.Linear, Tensor]] = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], result: Tensor) -> None:
        if isinstance(layer, nn.Linear) and inputs[0].ndim == 2:
            calls.append((layer, result))

    hooks = [layer.register_forward_hook(note) for layer in module.modules() if isinstance(layer, nn.Linear)]
    try:
        with torch.no_grad():
            logits = call(module.eval(), x)
    finally:
        for hook in hooks:
            hook.remove()
    if not calls or calls[-1][1].numel() != logits.numel() or not calls[-1][1].flatten().equal(logits.flatten()):
        return None
    return calls[-1][0]


def shadow(layer: nn.Linear, seed: int) -> nn.Linear:
    """Return a further node for a layer: normal weights with variance ``2 / (fan in + fan out)``, the node counted."""
    with torch.random.fork_rng(devices=[]):  # the constructor draws weights, which are replaced
        node = nn.Linear(layer.in_features, 1, bias=layer.bias is not None, dtype=layer.weight.dtype)
    generator = torch.Generator().manual_seed(seed + training_loop.FRESH)
    with torch.no_grad():
        node.weight.normal_(0, (2 / (layer.in_features + layer.out_features + 1)) ** 0.5, generator=generator)
        if layer.bias is not None:
            node.bias.zero_()
    return node.to(layer.weight.device)


@contextmanager
def _captured_inputs(layer: nn.Linear) -> Iterator[list[Tensor]]:
    """Capture a layer's inputs, one for each call, while the context is open."""
    inputs: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    try:
        yield inputs
    finally:
        hook.remove()


def _losses(task: Task, module: nn.Module, layer: nn.Linear, node: nn.Linear, turn: int) -> Iterator[Tensor]:
    """Compute the losses of a pass over the forget rows, labelled as the shadow class."""
    seed = training_loop.seed_of(task, turn)
    for x, y in training_loop.batches(task.oracle.recipe, module, task.forget, 1, seed):
        with _captured_inputs(layer) as inputs:
            logits = task.objective.outputs(module, x)
        expanded = torch.cat([logits, node(inputs[-1])], 1)
        yield task.objective.losses(expanded, torch.full_like(y, logits.shape[1])).mean()
