"""Inputs and output gradients of a module's layers, captured in a forward and a backward pass."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuralyzer.data.rows import Data
from neuralyzer.influence.curvature import tokens_at_once
from neuralyzer.models.objective import Objective

CHUNK = 256  # rows whose activations are held at once; limits memory, chosen, not tuned
Flows = Mapping[str, tuple[Tensor, Tensor]]  # by layer: inputs (n, T, a) and output gradients (n, T, g)


def covered(module: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    """Return the layers with a Kronecker form, by name: ``Linear`` and ``Conv2d`` with a trained, unshared weight."""
    owners = [id(parameter) for layer in module.modules() for parameter in layer.parameters(recurse=False)]
    return {
        name: layer
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
        and layer.weight.requires_grad
        and owners.count(id(layer.weight)) == 1
        and getattr(layer, "groups", 1) == 1
        and getattr(layer, "padding_mode", "zeros") == "zeros"
    }


def biased(layer: nn.Linear | nn.Conv2d) -> bool:
    """Return whether a layer has a trained bias."""
    return layer.bias is not None and layer.bias.requires_grad


def flows(
    module: nn.Module,
    objective: Objective,
    data: Data,
    layers: Mapping[str, nn.Linear | nn.Conv2d],
    gradients: Callable[[Tensor, Tensor], Tensor],
    chunk: int = CHUNK,
) -> Iterator[Flows]:
    """Pass rows through a module, ``chunk`` at a time.

    Args:
        module: in evaluation mode.
        objective: computes outputs.
        data: the rows.
        layers: by name; those that the module does not use are left out.
        gradients: computes the gradient by outputs ``(n, C)``, which is propagated back, from outputs and targets.
        chunk: rows held at once.

    Yields:
        By layer, inputs ``(n, T, a)``, with a 1 appended where the layer has a bias, and output gradients ``(n, T,
        g)``. ``T`` is the number of positions of an image or a sequence at which the layer is applied; 1 of plain rows.
    """
    for x, y in data.chunks(chunk, tokens_at_once(objective, module)):
        with _captured(layers) as (inputs, outputs), torch.enable_grad():
            results = objective.outputs(module, x)
            used = [name for name in layers if name in outputs]
            wanted = [outputs[name] for name in used]
            output_gradients = torch.autograd.grad(results, wanted, gradients(results.detach(), y))
        yield {
            name: (_inputs_by_position(layers[name], inputs[name]), _gradients_by_position(layers[name], gradient))
            for name, gradient in zip(used, output_gradients, strict=True)
        }


def products(inputs: Tensor, back: Tensor) -> Tensor:
    """Return each row's gradient with respect to a layer's weight (and bias), ``(n, g, a)``.

    Args:
        inputs: of the layer ``(n, T, a)``.
        back: its output gradients ``(n, T, g)``.
    """
    return torch.bmm(back.transpose(1, 2), inputs)


@contextmanager
def _captured(layers: Mapping[str, nn.Module]) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """Capture the inputs and outputs of layers, by name, while the context is open."""
    inputs: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, Sequence[Tensor], Tensor], Tensor]:
        def hook(layer: nn.Module, arguments: Sequence[Tensor], result: Tensor) -> Tensor:
            inputs[name], outputs[name] = arguments[0].detach(), result
            return result

        return hook

    hooks = [layer.register_forward_hook(keep(name)) for name, layer in layers.items()]
    try:
        yield inputs, outputs
    finally:
        for hook in hooks:
            hook.remove()


def _inputs_by_position(layer: nn.Linear | nn.Conv2d, inputs: Tensor) -> Tensor:
    """Return a layer's inputs ``(n, T, a)``: patches of a convolution; a 1 is appended where the layer has a bias."""
    if isinstance(layer, nn.Conv2d):
        padding = layer.padding
        if isinstance(padding, str):  # torch allows 'same' only with stride 1, so that the padding follows
            padding = tuple(d * (k - 1) // 2 for d, k in zip(layer.dilation, layer.kernel_size, strict=True))
            padding = (0, 0) if layer.padding == "valid" else padding
        inputs = F.unfold(inputs, layer.kernel_size, layer.dilation, padding, layer.stride).transpose(1, 2)
    else:
        inputs = inputs.reshape(len(inputs), -1, inputs.shape[-1])
    return torch.cat([inputs, inputs.new_ones(*inputs.shape[:2], 1)], 2) if biased(layer) else inputs


def _gradients_by_position(layer: nn.Module, gradients: Tensor) -> Tensor:
    """Return a layer's output gradients as ``(n, T, g)``."""
    if isinstance(layer, nn.Conv2d):
        return gradients.flatten(2).transpose(1, 2)
    return gradients.reshape(len(gradients), -1, gradients.shape[-1])
