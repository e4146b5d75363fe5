"""A stack of members whose weights are all their own: one ``vmap`` step computes the gradients of all."""

import copy
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import stack_module_state, vmap

from neuralyzer.data import batches
from neuralyzer.data.batches import Inputs
from neuralyzer.models.placement import Placement
from neuralyzer.models.reading import called
from neuralyzer.models.recipe import Recipe
from neuralyzer.references.training.traced import Gradients


class Vmapped:
    """Members whose parameters are stacked, frozen ones too.

    Args:
        recipe: gives the objective.
        modules: the members; they have what was learned once ``write`` was called.
        placement: device and precision.
    """

    def __init__(self, recipe: Recipe, modules: Sequence[nn.Module], placement: Placement) -> None:
        state, _ = stack_module_state(list(modules))
        names = {name for name, parameter in modules[0].named_parameters() if parameter.requires_grad}
        # Matrices are kept as (inputs, outputs), the layout of their products and gradients: saves one copy per step.
        leaves = {
            name: _transposed(value.detach()).contiguous().to(placement.device).requires_grad_(name in names)
            for name, value in state.items()
        }
        self._modules, self._leaves = modules, leaves
        self._learning = {name: leaf for name, leaf in leaves.items() if name in names}
        self._frozen = {name: leaf for name, leaf in leaves.items() if name not in names}
        self.trained: list[Tensor] = list(self._learning.values())
        skeleton, objective = copy.deepcopy(modules[0]).to(placement.device).train(), recipe.objective

        def losses(parameters: dict[str, Tensor], x: Inputs, y: Tensor, weight: Tensor) -> Tensor:
            with placement.computing():
                by_row = objective.losses(objective.outputs(called(skeleton, parameters), x), y)
            return (by_row * weight.to(by_row.dtype)).sum()

        def stacked(parameters: dict[str, Tensor], x: Inputs, y: Tensor, weight: Tensor) -> Tensor:
            return vmap(losses)({name: _transposed(leaf) for name, leaf in parameters.items()}, x, y, weight)

        self._gradients = Gradients(stacked, skeleton)

    def backward(self, x: Inputs, y: Tensor, weight: Tensor) -> Tensor:
        """Set gradients and return each member's loss, as ``Stack`` says."""
        by_member = partial(_by_member, weight.shape)
        by_name, loss = self._gradients(
            {name: leaf.detach() for name, leaf in self._learning.items()},
            self._frozen, batches.mapped(x, by_member), by_member(y), weight,
        )  # fmt: skip
        for name, leaf in self._learning.items():
            leaf.grad = by_name[name]
        return loss

    @torch.no_grad()
    def write(self) -> None:
        """Write what was learned into the members."""
        for index, module in enumerate(self._modules):
            for name, parameter in module.named_parameters():
                parameter.copy_(_transposed(self._leaves[name])[index])


def _by_member(shape: tuple[int, ...], rows: Tensor) -> Tensor:
    """Reshape rows ``(M B, ...)`` to ``(M, B, ...)``."""
    return rows.reshape(*shape, *rows.shape[1:])


def _transposed(value: Tensor) -> Tensor:
    """Transpose stacked matrices and leave other tensors as they are; the function is its own inverse."""
    return value.transpose(1, 2) if value.ndim == 3 else value
