"""The check that members trained in a stack equal members trained alone: two are trained both ways and compared."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from neuralyzer.data import batches
from neuralyzer.data.holding import ArrayRows
from neuralyzer.data.rows import Data
from neuralyzer.errors import first_line
from neuralyzer.models import training
from neuralyzer.models.kinds.kind import Stackable
from neuralyzer.models.placement import CPU, Placement
from neuralyzer.models.recipe import Recipe
from neuralyzer.progress import Silent
from neuralyzer.references.training import stacked

PASSES = 2  # epochs of three steps each; the last batch is shorter, so that padding is tested
TOLERANCE = {torch.float64: 1e-6, torch.float32: 0.05}  # of the distance that the weights moved in training

_compared: dict[tuple[str, str], str | None] = {}


def obstacle(recipe: Recipe, data: Data, placement: Placement = CPU) -> str | None:
    """Return why a recipe's members cannot be trained in a stack; None where they can.

    First the layers and the optimizer are checked (``stacked.obstacle``). Then two members are trained for a few steps
    both ways, in double precision if the module allows it, since padding vectors, hooks, batch statistics and custom
    optimizers may behave otherwise with stacked weights. Members on a shared base are compared in its own precision, and
    where they will be trained: a base may be large.

    Args:
        recipe: of the members.
        data: their rows.
        placement: whose device members on a shared base are compared on.

    Returns:
        A reason, or None.
    """
    known = stacked.obstacle(recipe)
    if known is not None:
        return known
    key = (recipe.digest, data.digest)
    if key not in _compared:
        with torch.random.fork_rng(devices=[]):  # for a module that draws random numbers where no layer shows it
            _compared[key] = _compare(recipe, data, Placement(placement.device))
    return _compared[key]


def _compare(recipe: Recipe, data: Data, placement: Placement) -> str | None:
    batch = min(recipe.batch_size, max(1, len(data) // 3))
    few = replace(recipe, epochs=PASSES, batch_size=batch)
    chosen = np.random.default_rng(0).permutation(len(data))[: 3 * batch]
    kept = [np.arange(2 * batch + part) for part in (max(1, batch // 2), max(1, batch // 4))]
    if isinstance(recipe.module(), Stackable):
        tries = [(few, data.select(chosen), placement)]
    else:
        tries = [
            (replace(few, build=_CastBuild(recipe.build, dtype)), _cast_data(data, chosen, dtype), CPU)
            for dtype in (torch.float64, torch.float32)
        ]
    for cast, rows, place in tries:
        try:
            return _differs(cast, rows, kept, place)
        except RuntimeError as error:  # such as a recurrent layer, or control flow that depends on values
            reason = f"the module cannot be stacked ({first_line(error)})"
    return reason


def _differs(recipe: Recipe, data: Data, kept: list[np.ndarray], placement: Placement) -> str | None:
    together = stacked.train_stack(recipe, data, kept, [0, 1], Silent(), placement=placement)
    for seed, (rows, member) in enumerate(zip(kept, together, strict=True)):
        start, alone = recipe.module(seed), _alone(recipe, data.select(rows), seed, placement)
        for name, buffer in start.named_buffers():
            if not torch.equal(buffer, alone.get_buffer(name)):
                return f"training changes {name}, which members side by side would share"
        for name, initial in start.named_parameters():
            parameters = (alone.get_parameter(name), member.get_parameter(name), initial)
            one, other, was = (parameter.detach() for parameter in parameters)
            moved = max(float((one - was).abs().max()), float((other - was).abs().max()))
            if moved and _distance(one, other, was) > TOLERANCE.get(one.dtype, TOLERANCE[torch.float32]):
                return f"trained side by side, {name} comes out otherwise than trained alone"
    return None


def _alone(recipe: Recipe, data: Data, seed: int, placement: Placement) -> nn.Module:
    module = recipe.module(seed).to(placement.device)
    optimizer = recipe.optimizer(training.trainable(module))
    steps = training.order(len(data), recipe.epochs, recipe.batch_size, seed)
    for _ in training.run_steps(recipe, module, optimizer, data, steps, seed, placement=placement):
        pass
    return module.cpu()


def _distance(one: Tensor, other: Tensor, was: Tensor) -> float:
    """Return the distance of two trained parameters, divided by the distance that they moved in training."""
    if one.dtype == torch.float64:
        return float((one - other).abs().max() / torch.maximum((one - was).abs().max(), (other - was).abs().max()))
    # In single precision, under Adam, an element whose gradient is mere rounding error may move in either direction.
    return float((one - other).norm() / torch.maximum((one - was).norm(), (other - was).norm()))


class _CastBuild:
    """A recipe's ``build`` whose modules have another precision."""

    def __init__(self, build: object, dtype: torch.dtype) -> None:
        self.build, self.dtype = build, dtype

    def __call__(self) -> nn.Module:
        module: nn.Module = self.build()  # type: ignore[operator]
        return module.to(self.dtype)


def _cast_data(data: Data, chosen: np.ndarray, dtype: torch.dtype) -> Data:
    x, y = data.gather(chosen)

    def cast(values: Tensor) -> Tensor:
        return values.to(dtype) if values.is_floating_point() else values

    return Data(ArrayRows(batches.mapped(x, cast), cast(y)))
