"""The training of members in a stack: their weights are stacked, and one step trains all.

Each member is trained as if it were alone, with its own initial weights, order of rows, batch sizes and clipping. Only
members with equally many steps per epoch share a stack, so that no member waits for others (decision 3). A model may
say itself how it is stacked (``shared_base``, decision 40); others are stacked by ``vmap`` (``vmapped``).
"""

import math
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from neuralyzer.data.batches import Inputs
from neuralyzer.data.rows import Data
from neuralyzer.errors import NotFiniteError
from neuralyzer.models import training
from neuralyzer.models.capabilities import Capability
from neuralyzer.models.kinds.kind import Stackable
from neuralyzer.models.placement import CPU, Placement
from neuralyzer.models.recipe import Recipe
from neuralyzer.progress import Progress
from neuralyzer.references.training.shared_base import SharedBase, most_members
from neuralyzer.references.training.vmapped import Vmapped

LARGEST_STACK = 64  # members; a larger stack is hardly faster, and a kill loses all of its work

# Optimizers whose update of an element depends on no other element, so that stacking parameters does not change it.
ELEMENTWISE = {"SGD", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Adagrad", "Adadelta", "ASGD", "Rprop"}
STOCHASTIC = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.RReLU)


class Stack(Protocol):
    """Members that are trained as one.

    Attributes:
        trained: their trained parameters, stacked ``(M, ...)``, in the order that a member has them in.
    """

    trained: list[Tensor]

    def backward(self, x: Inputs, y: Tensor, weight: Tensor) -> Tensor:
        """Give each trained parameter, which has no gradient yet, that of its member's loss.

        Args:
            x: rows ``(M B, ...)``, ``B`` of each member in turn.
            y: targets ``(M B, ...)``.
            weight: of each row in its member's loss ``(M, B)``.

        Returns:
            Each member's loss ``(M,)``.
        """

    def write(self) -> None:
        """Write what was learned into the members."""


def obstacle(recipe: Recipe) -> str | None:
    """Return why this recipe's members cannot be stacked; None where they can."""
    if Capability.STACKED not in recipe.kind.capabilities:
        return f"a {recipe.kind.name} has no {Capability.STACKED}"
    if not recipe.stepwise:
        return "the recipe has its own training code"
    if recipe.augment is not None:
        return "the recipe augments each batch"
    if recipe.average is not None:
        return "the recipe averages its weights"
    if recipe.precision != "float32":
        return "the recipe computes in mixed precision"
    module = recipe.module()
    reason = module.unstackable() if isinstance(module, Stackable) else None
    if reason is not None:
        return reason
    # A shared base may have some; stacked_check sees whether training changes them.
    if not isinstance(module, Stackable) and any(True for _ in module.buffers()):
        return "the module has buffers, such as BatchNorm's"
    if any(isinstance(layer, STOCHASTIC) and getattr(layer, "p", 1) > 0 for layer in module.modules()):
        return "the module draws random numbers, such as dropout's"
    single = training.trainable(module)
    optimizer = recipe.optimizer(single)
    name = type(optimizer).__name__
    if name not in ELEMENTWISE:
        return f"{name} does not update element by element"
    stacked = [parameter.detach()[None].clone().requires_grad_() for parameter in single]
    if _treatment(optimizer, single) != _treatment(recipe.optimizer(stacked), stacked):
        return "the optimizer treats parameters by their shape"
    return None


def _treatment(optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor]) -> list[tuple[list[int], str]]:
    """Return, for each group of parameters, which parameters it has and their settings."""
    place = {id(parameter): at for at, parameter in enumerate(parameters)}
    return [
        ([place[id(p)] for p in group["params"]], repr({key: group[key] for key in group if key != "params"}))
        for group in optimizer.param_groups
    ]


def largest_stack(recipe: Recipe, data: Data) -> int:
    """Return how many members a stack of the recipe's may have."""
    return min(LARGEST_STACK, most_members(recipe, data)) if isinstance(recipe.module(), Stackable) else LARGEST_STACK


def stacks(recipe: Recipe, kept: Sequence[int], largest: int) -> list[list[int]]:
    """Return which members share a stack.

    Args:
        recipe: has the batch size.
        kept: number of rows of each member.
        largest: members of a stack.

    Returns:
        Lists of member indices; in each, all take equally many steps per epoch.
    """
    by_steps: dict[int, list[int]] = {}
    for member, rows in enumerate(kept):
        by_steps.setdefault(math.ceil(rows / recipe.batch_size), []).append(member)
    return [
        members[start : start + largest]
        for _, members in sorted(by_steps.items())
        for start in range(0, len(members), largest)
    ]


def train_stack(
    recipe: Recipe,
    data: Data,
    kept: Sequence[np.ndarray],
    seeds: Sequence[int],
    progress: Progress,
    steps: int | None = None,
    placement: Placement = CPU,
) -> list[nn.Module]:
    """Train one stack.

    Args:
        recipe: one for which ``obstacle`` is None.
        data: rows of all members.
        kept: positions of each member's rows.
        seeds: one for each member.
        progress: advanced by the stack's size each epoch, in member-epochs.
        steps: number of steps after which training stops, for timing.
        placement: device and precision.

    Returns:
        The members, in evaluation mode, on the CPU.

    Raises:
        NotFiniteError: if a member's loss is NaN or infinite.
    """
    modules = [recipe.module(seed) for seed in seeds]
    kind: type[SharedBase | Vmapped] = SharedBase if isinstance(modules[0], Stackable) else Vmapped
    stack: Stack = kind(recipe, modules, placement)
    optimizer = recipe.optimizer(stack.trained)
    schedule = None if recipe.schedule is None else recipe.schedule(optimizer, training.steps_of(recipe, len(kept[0])))
    per_epoch = math.ceil(len(kept[0]) / recipe.batch_size)
    for step, (positions, weight) in enumerate(_batches(recipe, kept, seeds)):
        if step == steps:
            break
        x, y = placement.rows(*data.gather(positions.reshape(-1)))
        optimizer.zero_grad(set_to_none=True)
        loss = stack.backward(x, y, weight.to(placement.device))
        if recipe.clip is not None:
            _clip(stack.trained, recipe.clip)
        optimizer.step()
        if schedule is not None:
            schedule.step()
        if (step + 1) % per_epoch == 0:
            if not torch.isfinite(loss).all():
                raise NotFiniteError(f"a reference's training loss is not finite after {step + 1} steps")
            progress.advance(len(kept))
    stack.write()
    return [module.eval() for module in modules]


def _clip(parameters: Sequence[Tensor], largest: float) -> None:
    """Scale each member's gradient to the largest norm, as ``clip_grad_norm_`` does for a member alone."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
    scale = (largest / (norms + 1e-6)).clamp(max=1)
    for gradient in gradients:
        gradient.mul_(scale.reshape(-1, *[1] * (gradient.ndim - 1)))


def _batches(recipe: Recipe, kept: Sequence[np.ndarray], seeds: Sequence[int]) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Yield each step's positions and each row's weight in its member's mean loss, ``(M, B)``; padding weighs 0."""
    orders = [
        training.order(len(rows), recipe.epochs, recipe.batch_size, seed)
        for rows, seed in zip(kept, seeds, strict=True)
    ]
    for chosen in zip(*orders, strict=True):
        width = max(len(batch) for batch in chosen)
        positions = np.zeros((len(kept), width), dtype=np.int64)
        weight = np.zeros((len(kept), width), dtype=np.float64)
        for member, batch in enumerate(chosen):
            positions[member, : len(batch)] = kept[member][batch]
            weight[member, : len(batch)] = 1 / len(batch)
        yield positions, torch.from_numpy(weight)
