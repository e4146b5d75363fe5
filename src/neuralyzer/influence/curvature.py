"""The curvature of a model's loss as a symmetric operator on flat vectors; gradients and directional derivatives."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import jvp, vjp
from torch.nn.attention import SDPBackend, sdpa_kernel

from neuralyzer.data.batches import TOKENS, Inputs
from neuralyzer.data.rows import Data
from neuralyzer.models.objective import Objective, curved
from neuralyzer.models.reading import called, gradients

CHUNK = 2048  # rows whose outputs are differentiated at once; limits memory, chosen, not tuned
STEP = 5e-4  # of a difference, as a share of the parameters' norm: least error in single precision (decision 39)

Outputs = Callable[[dict[str, Tensor]], Tensor]  # of some rows, by the parameters
Transposed = Callable[[Tensor], tuple[dict[str, Tensor]]]  # product with the transposed Jacobian of the outputs
Along = Callable[[Outputs], tuple[Tensor, Tensor, Transposed]]  # outputs, their derivative, and that product


class Curvature(Protocol):
    """A symmetric positive semi-definite operator."""

    def __matmul__(self, vector: Tensor) -> Tensor:
        """Return the product with ``vector (P,)``."""


class Parameters:
    """A module's trained parameters as one flat vector ``(P,)``."""

    def __init__(self, module: nn.Module) -> None:
        named = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.shapes = {name: p.shape for name, p in named.items()}
        self.sizes = [p.numel() for p in named.values()]
        self.values = {name: p.detach() for name, p in named.items()}

    def flat(self, tensors: dict[str, Tensor]) -> Tensor:
        """Return tensors by parameter name as one vector."""
        return torch.cat([tensors[name].reshape(-1) for name in self.shapes])

    def tree(self, vector: Tensor) -> dict[str, Tensor]:
        """Return one vector as tensors by parameter name."""
        return {
            name: part.reshape(shape)
            for (name, shape), part in zip(self.shapes.items(), torch.split(vector, self.sizes), strict=True)
        }


def directional_derivative(
    function: Callable[[dict[str, Tensor]], Tensor], values: dict[str, Tensor], tangents: dict[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """Return a function's value and its derivative along ``tangents``: a Jacobian-vector product.

    Where torch has no forward mode for a layer (``nn.LSTM``), two reverse passes give the same. ``J'u`` is linear in
    ``u``, so its vector-Jacobian product with the tangents, taken with respect to ``u``, is ``J`` times the tangents
    (Townsend 2017, "A new trick for calculating Jacobian vector products").

    Args:
        function: of parameters by name.
        values: the parameters at which it is differentiated, by name.
        tangents: the direction, by name.

    Returns:
        Value and derivative.
    """
    with plain_attention():
        try:
            value, derivative = jvp(function, (values,), (tangents,))  # type: ignore[misc]
        except NotImplementedError:  # raised when the layer is called: the attempt costs less than a forward pass
            value, pull = vjp(function, values)  # type: ignore[misc]
            (derivative,) = vjp(lambda u: pull(u)[0], torch.zeros_like(value))[1](tangents)
    return value, derivative


@contextmanager
def plain_attention() -> Iterator[None]:
    """Compute attention from plain operations: torch's fused ones have neither forward mode nor second derivatives."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def tokens_at_once(objective: Objective, module: nn.Module) -> int:
    """Return how many tokens may be passed at once; an objective of tokens, whose logits are many, may say fewer."""
    own = getattr(objective, "tokens", None)
    return TOKENS if own is None else min(TOKENS, own(module))


class GaussNewton:
    """The generalised Gauss-Newton matrix of the mean loss over rows: ``(1/n) sum J' H J`` (Schraudolph 2002).

    A product with a vector is a forward-mode pass (``directional_derivative``), the loss Hessian at the outputs, and a
    reverse-mode pass. No matrix is formed.

    The derivative of outputs along the vector may be a difference of two forward passes instead: a third of the time on
    language models, and no more memory than training takes. Its error is some tenths of a per cent (decision 39).

    Args:
        module: the model; set to evaluation mode.
        objective: computes outputs and the loss Hessian at them.
        data: the ``n`` rows.
        difference: whether to take differences.
    """

    def __init__(self, module: nn.Module, objective: Objective, data: Data, difference: bool = False) -> None:
        self.module, self.objective, self.data = module.eval(), curved(objective), data
        self.parameters, self.difference = Parameters(module), difference
        self.tokens = tokens_at_once(self.objective, module)

    def __matmul__(self, vector: Tensor) -> Tensor:
        """Return ``G v`` for ``v (P,)``."""
        along = self._by_difference(vector) if self.difference else self._by_forward_mode(vector)
        total = torch.zeros_like(vector)
        for x, y in self.data.chunks(CHUNK, self.tokens):

            def outputs(values: dict[str, Tensor], x: Inputs = x) -> Tensor:
                return self.objective.outputs(called(self.module, values), x)

            output, derivative, transposed = along(outputs)
            (product,) = transposed(self.objective.curvature(output, y, derivative))
            total += self.parameters.flat(product)
        return total / len(self.data)

    def _by_forward_mode(self, vector: Tensor) -> Along:
        """Return the function that differentiates outputs along ``vector`` exactly."""
        tangents = self.parameters.tree(vector)

        def along(outputs: Outputs) -> tuple[Tensor, Tensor, Transposed]:
            output, derivative = directional_derivative(outputs, self.parameters.values, tangents)
            _, transposed = vjp(outputs, self.parameters.values)  # type: ignore[misc]
            return output, derivative, transposed

        return along

    def _by_difference(self, vector: Tensor) -> Along:
        """Return the function that takes the difference of outputs at two places on ``vector``."""
        values = self.parameters.values
        norm, length = float(self.parameters.flat(values).norm()), float(vector.norm())
        step = STEP * norm / max(length, torch.finfo(vector.dtype).tiny)
        moved = {name: values[name] + step * part for name, part in self.parameters.tree(vector).items()}

        def along(outputs: Outputs) -> tuple[Tensor, Tensor, Transposed]:
            output, transposed = vjp(outputs, values)  # type: ignore[misc]
            with torch.no_grad():
                return output, (outputs(moved) - output) / step, transposed

        return along


def mean_gradient(module: nn.Module, objective: Objective, data: Data, weight_decay: float = 0.0) -> Tensor:
    """Return the gradient of the mean loss over rows plus ``weight_decay / 2 |theta|^2``, flat ``(P,)``."""
    module.eval()
    parameters = Parameters(module)
    total: Tensor | None = None
    for x, y in data.chunks(CHUNK):
        leaves = {name: value.clone().requires_grad_() for name, value in parameters.values.items()}
        loss = objective.losses(objective.outputs(called(module, leaves), x), y).sum()
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients(loss, list(leaves.values()))])
        total = flat if total is None else total + flat
    assert total is not None
    mean = total / len(data)
    return mean + weight_decay * parameters.flat(parameters.values) if weight_decay else mean
