"""A stack of members on one base: the base is passed once for all members' rows, each member's layers for its own."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from neuralyzer.data import batches
from neuralyzer.data.batches import Inputs
from neuralyzer.data.rows import Data
from neuralyzer.models import training
from neuralyzer.models.kinds.kind import Stackable
from neuralyzer.models.placement import Placement
from neuralyzer.models.recipe import Recipe


class SharedBase:
    """Members that say themselves how they are stacked (``Stackable``).

    A step's rows are passed in portions, as many of each member, short ones first: so the rows that are passed together
    need little padding, and take no more memory than those of a member that is trained alone.

    Args:
        recipe: gives objective and the most tokens of a pass.
        modules: the members; they have what was learned once ``write`` was called.
        placement: device and precision.
    """

    def __init__(self, recipe: Recipe, modules: Sequence[nn.Module], placement: Placement) -> None:
        assert isinstance(modules[0], Stackable)
        self._objective, self._most = recipe.objective, most_tokens(recipe)
        self._modules, self._placement = modules, placement
        self._together = modules[0].stacked(modules).to(placement.device).train()
        named = {name: value for name, value in self._together.named_parameters() if value.requires_grad}
        self._named = named
        self.trained: list[Tensor] = list(named.values())

    def backward(self, x: Inputs, y: Tensor, weight: Tensor) -> Tensor:
        """Add gradients and return each member's loss, as ``Stack`` says."""
        loss = torch.zeros(len(weight), device=weight.device)
        for rows in training.portions(x, self._most, len(weight)):
            with self._placement.computing():
                part = batches.trimmed(batches.take(x, rows))
                by_row = self._objective.losses(self._objective.outputs(self._together, part), y[rows])
                weighted = by_row * weight.reshape(-1)[rows].to(by_row.dtype)
            weighted.sum().backward()  # type: ignore[no-untyped-call]
            loss = loss + weighted.detach().reshape(len(weight), -1).sum(1)
        return loss

    @torch.no_grad()
    def write(self) -> None:
        """Write what was learned into the members."""
        self._together.cpu()  # the base too, which the members share
        for index, module in enumerate(self._modules):
            for name, value in self._named.items():
                module.get_parameter(name).copy_(value[index])


def most_tokens(recipe: Recipe) -> int:
    """Return the most tokens of a pass: the recipe's, else as many as a processor is fastest with."""
    return recipe.batch_tokens or batches.TOKENS


def most_members(recipe: Recipe, data: Data) -> int:
    """Return how many members a stack may have, so that a row of each can be passed at once."""
    longest = 1
    for x, _ in data.chunks():
        if not isinstance(x, Tensor) and batches.MASK in x:
            longest = max(longest, int(batches.lengths(x).max()))
    return max(1, most_tokens(recipe) // longest)
