"""Outputs, losses, utility and per-row gradients of a model on rows, computed in chunks."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from neuralyzer import _moved
from neuralyzer.data import batches
from neuralyzer.data.batches import Inputs
from neuralyzer.data.rows import Data
from neuralyzer.errors import NotFiniteError
from neuralyzer.models.objective import Objective

# Chunk sizes limit memory; they were chosen, not tuned.
CHUNK = 4096  # rows of one forward pass
IMAGE_CHUNK = 512  # the same for images, whose larger activations should fit the processor's caches
GRADIENT_CHUNK = 64  # rows whose full gradients are held at once


class Outputs(Protocol):
    """Anything that gives outputs of a model, such as an objective."""

    def outputs(self, model: nn.Module, x: Inputs) -> Tensor:
        """Return outputs ``(N, ...)`` on ``x (N, ...)``."""


if not TYPE_CHECKING:
    __getattr__ = _moved.old_names(__name__, {"IMAGES": f"{__name__}.IMAGE_CHUNK"})


@torch.no_grad()
def outputs(module: nn.Module, objective: Outputs, x: Inputs, chunk: int = CHUNK) -> Tensor:
    """Return the outputs ``(N, C)`` of a model in evaluation mode on ``x (N, ...)``.

    Raises:
        NotFiniteError: if one is NaN or infinite.
    """
    module.eval()
    if isinstance(x, Tensor) and x.ndim == 4:  # channels last makes convolutions on processors twice as fast
        x, chunk = x.contiguous(memory_format=torch.channels_last), min(chunk, IMAGE_CHUNK)
    result = in_portions(module, objective, x, chunk)
    if not torch.isfinite(result).all():
        raise NotFiniteError("the model gives NaN or infinite outputs; it cannot be judged")
    return result


def in_portions(module: nn.Module, objective: Outputs, x: Inputs, chunk: int) -> Tensor:
    """Return the outputs ``(N, C)`` of at most ``chunk`` rows at a time; texts of a length together have little padding."""
    x, back = batches.by_length(x)
    result = torch.cat([objective.outputs(module, part) for part in batches.chunked(x, chunk)])
    return result if back is None else result[back]


def mean_loss(module: nn.Module, objective: Objective, data: Data) -> float:
    """Return the mean loss over ``data``."""
    total = 0.0
    for x, y in data.chunks(CHUNK):
        total += float(objective.losses(outputs(module, objective, x), y).double().sum())
    return total / len(data)


def utility(module: nn.Module, objective: Objective, data: Data) -> float:
    """Return the objective's utility over ``data``."""
    return objective.utility(torch.cat([outputs(module, objective, x) for x, _ in data.chunks(CHUNK)]), data.y)


def utility_by_class(module: nn.Module, objective: Objective, data: Data) -> dict[str, float]:
    """Return the objective's utility over the rows of each class; empty where targets are no classes."""
    if not objective.counted:
        return {}
    result = torch.cat([outputs(module, objective, x) for x, _ in data.chunks(CHUNK)])
    labels = data.labels
    masks = {str(label): torch.as_tensor(labels == label) for label in np.unique(labels)}
    return {label: objective.utility(result[mask], data.y[mask]) for label, mask in masks.items()}


def squared_gradient_norms(
    module: nn.Module, objective: Objective, x: Inputs, y: Tensor, chunk: int = GRADIENT_CHUNK
) -> Tensor:
    """Return the squared norm of each row's loss gradient over the trained parameters.

    Where every parameter is trained and belongs to a ``Linear`` layer used once on a matrix, the norm follows from the
    layer's inputs and output gradients without forming any row's gradient (Goodfellow 2015, arXiv 1510.01799).
    Otherwise each row's gradient is formed, ``chunk`` rows at a time.

    Args:
        module: the model; read in evaluation mode.
        objective: computes the losses.
        x: features ``(N, ...)``.
        y: targets ``(N, ...)``.
        chunk: rows whose full gradients are held at once.

    Returns:
        ``(N,)``.
    """
    module.eval()
    if only_linear(module):
        norms = _linear_norms(module, objective, x, y)
        if norms is not None:
            return norms
    parts = []
    for start in range(0, len(y), chunk):
        rows = slice(start, start + chunk)
        gradients = row_gradients(module, objective, batches.take(x, rows), y[rows])
        parts.append(sum(g.flatten(1).square().sum(1) for g in gradients.values()))
    return torch.cat([torch.as_tensor(part) for part in parts])


def row_gradients(module: nn.Module, objective: Objective, x: Inputs, y: Tensor) -> dict[str, Tensor]:
    """Return each row's loss gradient by trained parameter, ``(n, ...)``, of a module in evaluation mode."""

    def loss(parameters: dict[str, Tensor], row: Inputs, target: Tensor) -> Tensor:
        output = objective.outputs(called(module, parameters), batches.alone(row))
        return objective.losses(output, target[None])[0]

    return gradients_by_row(module, loss, x, y)


@_moved.old_arguments(along="arguments")
def gradients_by_row(
    module: nn.Module, value: Callable[[dict[str, Tensor], Inputs, Tensor], Tensor], x: Inputs, arguments: Tensor
) -> dict[str, Tensor]:
    """Return the gradient, over the trained parameters, of a value of each row.

    Args:
        module: has the parameters.
        value: a number, computed from parameters, one row and that row's argument.
        x: rows ``(n, ...)``.
        arguments: one for each row ``(n, ...)``, such as its target.

    Returns:
        By parameter, ``(n, ...)``. Where ``vmap`` fails, as on a recurrent layer, rows are computed one by one.
    """
    parameters = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
    try:
        vectorised: dict[str, Tensor] = vmap(grad(value), in_dims=(None, 0, 0))(parameters, x, arguments)
        return vectorised
    except RuntimeError:
        pass  # rows one by one; this raises again where the model itself fails
    by_row = []
    for row, argument in zip(batches.each(x), arguments, strict=True):
        leaves = {name: p.clone().requires_grad_() for name, p in parameters.items()}
        with torch.enable_grad():
            by_row.append(gradients(value(leaves, row, argument), list(leaves.values())))
    return {name: torch.stack(column) for name, column in zip(parameters, zip(*by_row, strict=True), strict=True)}


def gradients(value: Tensor, parameters: Sequence[Tensor], create_graph: bool = False) -> tuple[Tensor, ...]:
    """Return gradients of a number over parameters; 0 for one that it does not depend on, such as an unused layer's."""
    return torch.autograd.grad(value, parameters, create_graph=create_graph, allow_unused=True, materialize_grads=True)


def used(module: nn.Module, objective: Objective, x: Inputs) -> frozenset[str]:
    """Return the names of the trained parameters that the outputs on ``x (N, ...)`` depend on, in evaluation mode."""
    module.eval()
    leaves = {name: p.detach().clone().requires_grad_() for name, p in module.named_parameters() if p.requires_grad}
    with torch.enable_grad():
        total = objective.outputs(called(module, leaves), x).sum()
        derivatives = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    return frozenset(name for name, derivative in zip(leaves, derivatives, strict=True) if derivative is not None)


class _Called(nn.Module):
    """A module that is called with other parameters than its own, for an objective, which takes a module."""

    def __init__(self, module: nn.Module, parameters: dict[str, Tensor]) -> None:
        super().__init__()
        object.__setattr__(self, "wrapped", module)
        object.__setattr__(self, "given", parameters)

    def parameters(self, recurse: bool = True) -> Iterator[Tensor]:  # type: ignore[override]
        """Return the parameters that it is called with."""
        return iter(vars(self)["given"].values())

    def forward(self, *rows: Tensor, **named: Tensor) -> Tensor:
        """Return the module's outputs with these parameters."""
        return functional_call(self.wrapped, self.given, rows, named)  # type: ignore[no-any-return,arg-type]


def called(module: nn.Module, parameters: dict[str, Tensor]) -> nn.Module:
    """Return ``module`` as a function of ``parameters``, for an objective to call under ``torch.func``."""
    return _Called(module, parameters)


def only_linear(module: nn.Module) -> bool:
    """Return whether every parameter is trained and belongs to one ``Linear`` layer alone."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    linear = [id(p) for layer in layers for p in layer.parameters()]
    return (
        bool(linear)
        and len(set(linear)) == len(linear)
        and {id(p) for p in module.parameters()} == set(linear)
        and all(p.requires_grad for p in module.parameters())
    )


def _linear_norms(module: nn.Module, objective: Objective, x: Inputs, y: Tensor) -> Tensor | None:
    """Return squared gradient norms ``(N,)``, or None where a layer is used more than once or not on a matrix."""
    calls: list[tuple[Tensor, Tensor, bool]] = []  # a layer's inputs and outputs, and whether it has a bias

    def keep(layer: nn.Module, inputs: tuple[Tensor, ...], result: Tensor) -> Tensor:
        leaf = result.detach().requires_grad_() if not result.requires_grad else result
        calls.append((inputs[0].detach(), leaf, layer.bias is not None))
        return leaf

    hooks = [layer.register_forward_hook(keep) for layer in module.modules() if isinstance(layer, nn.Linear)]
    try:
        total = objective.losses(objective.outputs(module, x), y).sum()
        if len(calls) != len(hooks) or any(inputs.ndim != 2 for inputs, _, _ in calls):
            return None
        output_gradients = torch.autograd.grad(total, [result for _, result, _ in calls])
    finally:
        for hook in hooks:
            hook.remove()
    norms = torch.zeros(len(y), dtype=total.dtype)
    for (inputs, _, biased), gradient in zip(calls, output_gradients, strict=True):
        norms += gradient.square().sum(1) * (inputs.square().sum(1) + float(biased))
    return norms
