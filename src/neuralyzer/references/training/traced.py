"""A stacked step as a flat list of operations: traced once, replayed at every step without Python's part of it."""

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
    """Gradients of stacked members' losses.

    A step of many small members is hundreds of short operations, and what Python, ``vmap`` and autograd do between
    them takes as long as they do. They are the same at each step of the same shapes, so they are written down once.
    A module that counts or otherwise changes itself is not written down: each of its steps may be another.

    Args:
        losses: each member's loss ``(M,)`` of stacked parameters, rows, targets and weights.
        module: what ``losses`` calls.
    """

    def __init__(self, losses: Losses, module: nn.Module) -> None:
        def total(parameters: Tensors, frozen: Tensors, x: Inputs, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
            found = losses(parameters | frozen, x, y, weight)
            return found.sum(), found

        self._gradients = grad(total, has_aux=True)
        self._module = module
        self._written: dict[Any, Callable[..., tuple[Tensors, Tensor]]] = {}

    def __call__(
        self, parameters: Tensors, frozen: Tensors, x: Inputs, y: Tensor, weight: Tensor
    ) -> tuple[Tensors, Tensor]:
        """Gradients and losses.

        Args:
            parameters: that are trained, stacked.
            frozen: the others.
            x: rows ``(M, B, ...)``.
            y: targets ``(M, B, ...)``.
            weight: of each row in its member's loss ``(M, B)``.

        Returns:
            The gradients by name, and each member's loss ``(M,)``.
        """
        given = (parameters, frozen, x, y, weight)
        shapes = (batches.shapes(x), batches.shapes(y))
        if shapes not in self._written:
            self._written[shapes] = self._write(*given)
        with torch.no_grad():
            return self._written[shapes](*given)

    def _write(self, *given: Any) -> Callable[..., tuple[Tensors, Tensor]]:
        before = _numbers(self._module)
        traced = make_fx(self._gradients)(*given)
        if _numbers(self._module) != before:
            for layer, name, value in before:
                vars(layer)[name] = value  # tracing was no step
            return self._gradients
        traced.graph.eliminate_dead_code()
        traced.recompile()
        return traced


def _numbers(module: nn.Module) -> list[tuple[nn.Module, str, Any]]:
    """What the parts of a module hold besides tensors and parts."""
    return [
        (layer, name, value)
        for layer in module.modules()
        for name, value in vars(layer).items()
        if isinstance(value, bool | int | float | str)
    ]
