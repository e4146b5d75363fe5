"""Linear layers in a stack: several models on one frozen base become one, which passes all their rows at once.

Adapters (Hu et al. 2021, arXiv 2106.09685) are pairs of linear layers beside layers of the base. Each pair becomes a
pair of stacks; what lies around them, such as PEFT's scaling and casts, stays as it is.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from neuralyzer.models import training


class StackedLinear(nn.Module):
    """``M`` linear layers without a bias, each applied to its own rows.

    Args:
        layers: all of one shape.
    """

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([layer.weight.detach() for layer in layers]))  # (M, outputs, inputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(M n, ..., outputs)`` of ``x (M n, ..., inputs)``: first ``n`` rows of the first layer, and so on."""
        own = x.reshape(len(self.weight), -1, x.shape[-1])
        return (own @ self.weight.transpose(1, 2)).reshape(*x.shape[:-1], -1)


def unstackable(model: nn.Module) -> str | None:
    """Return why models such as this one cannot be stacked on one base; None where they can."""
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    if len(trained) == sum(1 for _ in model.parameters()):
        return "all weights are trained, so that there is no base to share"
    other = sorted(trained - {f"{name}.weight" for name in _trained_layers(model)})
    return f"{other[0]} is trained, and is not the weight of a linear layer without a bias" if other else None


def stacked(models: Sequence[nn.Module]) -> nn.Module:
    """Return one model that computes as each of ``models`` on its own rows.

    Args:
        models: ``M`` for which ``unstackable`` is None, which share all that is not trained.

    Returns:
        A model of rows ``(M n, ...)``, ``n`` of each model in turn. Its trained parameters have the names of theirs and
        are stacked, ``(M, ...)``.
    """
    together = copy.deepcopy(models[0])
    for name in _trained_layers(together):
        layers = [model.get_submodule(name) for model in models]
        together.set_submodule(name, StackedLinear([layer for layer in layers if isinstance(layer, nn.Linear)]))
    return together


def _trained_layers(model: nn.Module) -> list[str]:
    """Return the names of the linear layers without a bias whose weights are trained."""
    trained = {id(value) for value in training.trainable(model)}
    return [
        name
        for name, layer in model.named_modules()
        if type(layer) is nn.Linear and layer.bias is None and id(layer.weight) in trained
    ]
