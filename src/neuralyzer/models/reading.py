"""What a model says about rows, in chunks: outputs, losses, per-row squared gradient norms."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from neuralyzer.data import batches
from neuralyzer.data.batches import Inputs
from neuralyzer.data.rows import Data
from neuralyzer.errors import NotFiniteError
from neuralyzer.models.objective import Objective

CHUNK = 4096  # rows whose outputs are held at once
IMAGES = 512  # the same for images: their activations are large, and fit the caches so
GRADIENT_CHUNK = 64  # rows whose whole gradients are held at once


@torch.no_grad()
def outputs(module: nn.Module, objective: Objective, x: Inputs, chunk: int = CHUNK) -> Tensor:
    """Outputs of a model in evaluation mode on ``x (N, ...)``.

    Returns:
        ``(N, C)``.

    Raises:
        NotFiniteError: if one is NaN or infinite.
    """
    module.eval()
    if isinstance(x, Tensor) and x.ndim == 4:  # channels last: convolutions are twice as fast on processors so
        x, chunk = x.contiguous(memory_format=torch.channels_last), min(chunk, IMAGES)
    found = torch.cat([objective.outputs(module, part) for part in batches.chunked(x, chunk)])
    if not torch.isfinite(found).all():
        raise NotFiniteError("the model gives NaN or infinite outputs; it cannot be judged")
    return found


def mean_loss(module: nn.Module, objective: Objective, data: Data) -> float:
    """Mean loss over ``data``."""
    total = 0.0
    for x, y in data.chunks(CHUNK):
        total += float(objective.losses(outputs(module, objective, x), y).double().sum())
    return total / len(data)


def utility(module: nn.Module, objective: Objective, data: Data) -> float:
    """The objective's utility over ``data``."""
    found = torch.cat([outputs(module, objective, x) for x, _ in data.chunks(CHUNK)])
    return objective.utility(found, data.y)


def utility_by_class(module: nn.Module, objective: Objective, data: Data) -> dict[str, float]:
    """The objective's utility over the rows of each class; empty where targets are no classes."""
    if not objective.counted:
        return {}
    found = torch.cat([outputs(module, objective, x) for x, _ in data.chunks(CHUNK)])
    labels = data.labels
    return {
        str(label): objective.utility(found[torch.as_tensor(labels == label)], data.y[torch.as_tensor(labels == label)])
        for label in np.unique(labels)
    }


def squared_gradient_norms(
    module: nn.Module, objective: Objective, x: Inputs, y: Tensor, chunk: int = GRADIENT_CHUNK
) -> Tensor:
    """Squared norm of each row's loss gradient over the trained parameters.

    Where every trained parameter belongs to a ``Linear`` layer used once on a matrix, the norm follows from the
    layer's inputs and output gradients without forming any row's gradient (Goodfellow 2015, arXiv 1510.01799);
    otherwise each row's gradient is formed, ``chunk`` rows at a time.

    Args:
        module: the model; read in evaluation mode.
        objective: gives the losses.
        x: features ``(N, ...)``.
        y: targets ``(N, ...)``.
        chunk: rows whose whole gradients are held at once.

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
    """Each row's loss gradient by trained parameter, ``(n, ...)``, of a module in evaluation mode."""

    def loss(parameters: dict[str, Tensor], one: Inputs, target: Tensor) -> Tensor:
        given = objective.outputs(called(module, parameters), batches.alone(one))
        return objective.losses(given, target[None])[0]

    return gradients_by_row(module, loss, x, y)


def gradients_by_row(
    module: nn.Module, value: Callable[[dict[str, Tensor], Inputs, Tensor], Tensor], x: Inputs, along: Tensor
) -> dict[str, Tensor]:
    """The gradient of each row's value over the trained parameters.

    Args:
        module: whose parameters.
        value: of parameters, a row and what goes with it: a number.
        x: rows ``(n, ...)``.
        along: what goes with each, ``(n, ...)``.

    Returns:
        By parameter, ``(n, ...)``. What ``vmap`` cannot take, such as a recurrent layer, is done row by row.
    """
    parameters = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
    try:
        side_by_side: dict[str, Tensor] = vmap(grad(value), in_dims=(None, 0, 0))(parameters, x, along)
        return side_by_side
    except RuntimeError:
        pass  # one row at a time, which raises again where it is the model that fails
    found = []
    for one, own in zip(batches.each(x), along, strict=True):
        leaves = {name: p.clone().requires_grad_() for name, p in parameters.items()}
        with torch.enable_grad():
            found.append(gradients(value(leaves, one, own), list(leaves.values())))
    return {name: torch.stack(own) for name, own in zip(parameters, zip(*found, strict=True), strict=True)}


def gradients(value: Tensor, parameters: Sequence[Tensor], create_graph: bool = False) -> tuple[Tensor, ...]:
    """Gradients of a number over parameters; 0 for one that it does not depend on, such as an unused layer's."""
    return torch.autograd.grad(value, parameters, create_graph=create_graph, allow_unused=True, materialize_grads=True)


def used(module: nn.Module, objective: Objective, x: Inputs) -> frozenset[str]:
    """Names of the trained parameters that the outputs on ``x (N, ...)`` depend on, in evaluation mode."""
    module.eval()
    leaves = {name: p.detach().clone().requires_grad_() for name, p in module.named_parameters() if p.requires_grad}
    with torch.enable_grad():
        total = objective.outputs(called(module, leaves), x).sum()
        slopes = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    return frozenset(name for name, slope in zip(leaves, slopes, strict=True) if slope is not None)


class _Called(nn.Module):
    """A module called with other parameters, where an objective expects a module."""

    def __init__(self, module: nn.Module, parameters: dict[str, Tensor]) -> None:
        super().__init__()
        object.__setattr__(self, "wrapped", module)
        object.__setattr__(self, "given", parameters)

    def parameters(self, recurse: bool = True) -> Iterator[Tensor]:  # type: ignore[override]
        """Those that it is called with."""
        return iter(vars(self)["given"].values())

    def forward(self, *rows: Tensor, **named: Tensor) -> Tensor:
        return functional_call(self.wrapped, self.given, rows, named)  # type: ignore[no-any-return,arg-type]


def called(module: nn.Module, parameters: dict[str, Tensor]) -> nn.Module:
    """``module`` as a function of ``parameters``, for an objective to call under ``torch.func``."""
    return _Called(module, parameters)


def only_linear(module: nn.Module) -> bool:
    """Whether every parameter is trained and belongs to a ``Linear`` layer that no other shares."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    owned = [id(p) for layer in layers for p in layer.parameters()]
    return (
        bool(owned)
        and len(set(owned)) == len(owned)
        and {id(p) for p in module.parameters()} == set(owned)
        and all(p.requires_grad for p in module.parameters())
    )


def _linear_norms(module: nn.Module, objective: Objective, x: Inputs, y: Tensor) -> Tensor | None:
    """The norms by layer, or None where a layer is used more than once or not on a matrix."""
    seen: list[tuple[Tensor, Tensor, bool]] = []

    def keep(layer: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> Tensor:
        leaf = result.detach().requires_grad_() if not result.requires_grad else result
        seen.append((given[0].detach(), leaf, layer.bias is not None))
        return leaf

    hooks = [layer.register_forward_hook(keep) for layer in module.modules() if isinstance(layer, nn.Linear)]
    try:
        total = objective.losses(objective.outputs(module, x), y).sum()
        if len(seen) != len(hooks) or any(given.ndim != 2 for given, _, _ in seen):
            return None
        flows = torch.autograd.grad(total, [result for _, result, _ in seen])
    finally:
        for hook in hooks:
            hook.remove()
    norms = torch.zeros(len(y), dtype=total.dtype)
    for (given, _, biased), flow in zip(seen, flows, strict=True):
        norms += flow.square().sum(1) * (given.square().sum(1) + float(biased))
    return norms
