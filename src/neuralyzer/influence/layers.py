"""What flows through a module's layers: inputs on the way forward, gradients on the way back."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuralyzer.data.rows import Data
from neuralyzer.models.objective import Objective

CHUNK = 256  # rows whose activations are held at once
Flows = Mapping[str, tuple[Tensor, Tensor]]  # by layer: inputs (n, T, a) and output gradients (n, T, g)


def covered(module: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    """The layers with a Kronecker form, by name: ``Linear`` and ``Conv2d`` whose weight is trained and theirs alone."""
    owners = [id(own) for layer in module.modules() for own in layer.parameters(recurse=False)]
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
    """Whether a layer has a bias that is trained."""
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
        objective: gives outputs.
        data: the rows.
        layers: by name; those that the module does not use are left out.
        gradients: of outputs ``(n, C)`` and targets, what flows back from the outputs, ``(n, C)``.
        chunk: rows held at once.

    Yields:
        Inputs, with a last 1 where the layer has a bias, and output gradients. ``T`` is the number of places at which
        a row passes the layer: positions of an image or of a sequence.
    """
    for x, y in data.chunks(chunk):
        with _captured(layers) as (inputs, outputs), torch.enable_grad():
            results = objective.outputs(module, x)
            used = [name for name in layers if name in outputs]
            back = torch.autograd.grad(results, [outputs[name] for name in used], gradients(results.detach(), y))
        yield {
            name: (_places(layers[name], inputs[name]), _back(layers[name], flow))
            for name, flow in zip(used, back, strict=True)
        }


def products(inputs: Tensor, back: Tensor) -> Tensor:
    """Each row's gradient with respect to a layer's weight (and bias), ``(n, g, a)``."""
    return torch.bmm(back.transpose(1, 2), inputs)


@contextmanager
def _captured(layers: Mapping[str, nn.Module]) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    inputs: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, Sequence[Tensor], Tensor], Tensor]:
        def hook(layer: nn.Module, given: Sequence[Tensor], result: Tensor) -> Tensor:
            inputs[name], outputs[name] = given[0].detach(), result
            return result

        return hook

    hooks = [layer.register_forward_hook(keep(name)) for name, layer in layers.items()]
    try:
        yield inputs, outputs
    finally:
        for hook in hooks:
            hook.remove()


def _places(layer: nn.Linear | nn.Conv2d, given: Tensor) -> Tensor:
    if isinstance(layer, nn.Conv2d):
        padding = layer.padding
        if isinstance(padding, str):  # 'same' needs a stride of 1, so that the padding is known
            padding = tuple(d * (k - 1) // 2 for d, k in zip(layer.dilation, layer.kernel_size, strict=True))
            padding = (0, 0) if layer.padding == "valid" else padding
        given = F.unfold(given, layer.kernel_size, layer.dilation, padding, layer.stride).transpose(1, 2)
    else:
        given = given.reshape(len(given), -1, given.shape[-1])
    return torch.cat([given, given.new_ones(*given.shape[:2], 1)], 2) if biased(layer) else given


def _back(layer: nn.Module, flow: Tensor) -> Tensor:
    if isinstance(layer, nn.Conv2d):
        return flow.flatten(2).transpose(1, 2)
    return flow.reshape(len(flow), -1, flow.shape[-1])
