"""The training of members in a stack: their weights are stacked, and one ``vmap`` step trains all.

Each member is trained as if it were alone, with its own initial weights, order of rows and batch sizes. Only members
with equally many steps per epoch share a stack, so that no member waits for others (decision 3).
"""

import copy
import math
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import stack_module_state, vmap

from neuralyzer.data import batches
from neuralyzer.data.batches import Inputs
from neuralyzer.data.rows import Data
from neuralyzer.errors import NotFiniteError
from neuralyzer.models import training
from neuralyzer.models.capabilities import Capability
from neuralyzer.models.placement import CPU, Placement
from neuralyzer.models.reading import called
from neuralyzer.models.recipe import Recipe
from neuralyzer.progress import Progress
from neuralyzer.references.training.traced import Gradients

# Optimizers whose update of an element depends on no other element, so that stacking parameters does not change it.
ELEMENTWISE = {"SGD", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Adagrad", "Adadelta", "ASGD", "Rprop"}
STOCHASTIC = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.RReLU)


def obstacle(recipe: Recipe) -> str | None:
    """Return why this recipe's members cannot be stacked; None where they can."""
    if Capability.STACKED not in recipe.kind.capabilities:
        return f"a {recipe.kind.name} has no {Capability.STACKED}"
    if not recipe.stepwise:
        return "the recipe has its own training code"
    if recipe.augment is not None:
        return "the recipe augments each batch"
    for name, does in (("clip", "clips gradients"), ("average", "averages its weights")):
        if getattr(recipe, name) is not None:
            return f"the recipe {does}"
    if recipe.precision != "float32":
        return "the recipe computes in mixed precision"
    module = recipe.module()
    if any(True for _ in module.buffers()):
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
    state, _ = stack_module_state(modules)
    trained = {name for name, parameter in modules[0].named_parameters() if parameter.requires_grad}
    # Matrices are kept as (inputs, outputs), the layout of their products and gradients: saves one copy per step.
    leaves = {
        name: _transposed(value.detach()).contiguous().to(placement.device).requires_grad_(name in trained)
        for name, value in state.items()
    }
    learning = {name: leaf for name, leaf in leaves.items() if name in trained}
    frozen = {name: leaf for name, leaf in leaves.items() if name not in trained}
    optimizer = recipe.optimizer(list(learning.values()))
    total = training.steps_of(recipe, len(kept[0]))
    schedule = None if recipe.schedule is None else recipe.schedule(optimizer, total)
    skeleton = copy.deepcopy(modules[0]).to(placement.device).train()
    objective = recipe.objective

    def losses(parameters: dict[str, Tensor], x: Inputs, y: Tensor, weight: Tensor) -> Tensor:
        with placement.computing():
            by_row = objective.losses(objective.outputs(called(skeleton, parameters), x), y)
        return (by_row * weight.to(by_row.dtype)).sum()

    def stacked(parameters: dict[str, Tensor], x: Inputs, y: Tensor, weight: Tensor) -> Tensor:
        return vmap(losses)({name: _transposed(leaf) for name, leaf in parameters.items()}, x, y, weight)

    gradients = Gradients(stacked, skeleton)
    per_epoch = math.ceil(len(kept[0]) / recipe.batch_size)
    for step, (positions, weight) in enumerate(_batches(recipe, kept, seeds)):
        if step == steps:
            break
        x, y = placement.rows(*data.gather(positions.reshape(-1)))
        x = batches.mapped(x, partial(_stacked, positions.shape))
        y = y.reshape(*positions.shape, *y.shape[1:])
        optimizer.zero_grad(set_to_none=True)
        by_name, loss = gradients(
            {name: leaf.detach() for name, leaf in learning.items()}, frozen, x, y, weight.to(placement.device)
        )
        for name, leaf in learning.items():
            leaf.grad = by_name[name]
        optimizer.step()
        if schedule is not None:
            schedule.step()
        if (step + 1) % per_epoch == 0:
            if not torch.isfinite(loss).all():
                raise NotFiniteError(f"a reference's training loss is not finite after {step + 1} steps")
            progress.advance(len(kept))
    with torch.no_grad():
        for index, module in enumerate(modules):
            for name, parameter in module.named_parameters():
                parameter.copy_(_transposed(leaves[name])[index])
    return [module.eval() for module in modules]


def _stacked(shape: tuple[int, ...], rows: Tensor) -> Tensor:
    """Reshape rows ``(M B, ...)`` to ``(M, B, ...)``."""
    return rows.reshape(*shape, *rows.shape[1:])


def _transposed(value: Tensor) -> Tensor:
    """Transpose stacked matrices and leave other tensors as they are; the function is its own inverse."""
    return value.transpose(1, 2) if value.ndim == 3 else value


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
