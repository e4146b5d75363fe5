"""The gradients of a stacked step as a flat graph of operations: traced once, replayed at every step."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import grad
from torch.fx.experimental.proxy_tensor import make_fx

from neuralyzer.data import batches
from neuralyzer.data.batches import Inputs

Tensors = dict[str, Tensor]
Losses = Callable[[Tensors, Inputs, Tensor, Tensor], Tensor]


class Gradients:
    """The gradients of stacked members' losses.

    A step of many small members has hundreds of short operations, and the overhead of Python, ``vmap`` and autograd
    takes as long as they do. The operations are the same in each step of the same shapes, so they are traced once. A
    module that changes its own attributes, such as a counter of steps, is not traced, since its steps may differ.

    Args:
        losses: returns each member's loss ``(M,)`` from stacked parameters, rows, targets and weights.
        module: that ``losses`` calls.
    """

    def __init__(self, losses: Losses, module: nn.Module) -> None:
        def total(parameters: Tensors, frozen: Tensors, x: Inputs, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
            by_member = losses(parameters | frozen, x, y, weight)
            return by_member.sum(), by_member

        self._gradients = grad(total, has_aux=True)
        self._module = module
        self._traced: dict[Any, Callable[..., tuple[Tensors, Tensor]]] = {}

    def __call__(
        self, parameters: Tensors, frozen: Tensors, x: Inputs, y: Tensor, weight: Tensor
    ) -> tuple[Tensors, Tensor]:
        """Return gradients and losses.

        Args:
            parameters: trained parameters, stacked.
            frozen: the other parameters, stacked.
            x: rows ``(M, B, ...)``.
            y: targets ``(M, B, ...)``.
            weight: of each row in its member's loss ``(M, B)``.

        Returns:
            The gradients by name, and each member's loss ``(M,)``.
        """
        given = (parameters, frozen, x, y, weight)
        shapes = (batches.shapes(x), batches.shapes(y))
        if shapes not in self._traced:
            self._traced[shapes] = self._trace(*given)
        with torch.no_grad():
            return self._traced[shapes](*given)

    def _trace(self, *given: Any) -> Callable[..., tuple[Tensors, Tensor]]:
        before = _plain_attributes(self._module)
        traced = make_fx(self._gradients)(*given)
        if _plain_attributes(self._module) != before:
            for layer, name, value in before:
                vars(layer)[name] = value  # undo what tracing changed, which was no training step
            return self._gradients
        traced.graph.eliminate_dead_code()
        traced.recompile()
        return traced


def _plain_attributes(module: nn.Module) -> list[tuple[nn.Module, str, Any]]:
    """Return the plain attributes of a module's layers: numbers, flags and texts."""
    return [
        (layer, name, value)
        for layer in module.modules()
        for name, value in vars(layer).items()
        if isinstance(value, bool | int | float | str)
    ]
