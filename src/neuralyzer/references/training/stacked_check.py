"""Whether members that are trained side by side are what each would be alone: two are trained both ways and compared."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from neuralyzer.data import batches
from neuralyzer.data.holding import ArrayRows
from neuralyzer.data.rows import Data
from neuralyzer.errors import first_line
from neuralyzer.models import training
from neuralyzer.models.recipe import Recipe
from neuralyzer.progress import Silent
from neuralyzer.references.training import stacked

PASSES = 2  # of three steps, the last of them short: padding must count for nothing
ALIKE = {torch.float64: 1e-6, torch.float32: 0.05}  # of the way that the weights went

_compared: dict[tuple[str, str], str | None] = {}


def obstacle(recipe: Recipe, data: Data) -> str | None:
    """Why a recipe's members cannot be trained side by side; None where they can.

    Beyond what is known of layers and optimizers, two members are trained for a few steps both ways, in double
    precision where the module can: padding vectors, hooks, statistics of a batch and optimizers of a person's own may do
    another thing with stacked weights.

    Args:
        recipe: how members are trained.
        data: their rows.

    Returns:
        A reason, or None.
    """
    known = stacked.obstacle(recipe)
    if known is not None:
        return known
    key = (recipe.digest, data.digest)
    if key not in _compared:
        _compared[key] = _compare(recipe, data)
    return _compared[key]


def _compare(recipe: Recipe, data: Data) -> str | None:
    batch = min(recipe.batch_size, max(1, len(data) // 3))
    few = replace(recipe, epochs=PASSES, batch_size=batch)
    chosen = np.random.default_rng(0).permutation(len(data))[: 3 * batch]
    kept = [np.arange(2 * batch + part) for part in (max(1, batch // 2), max(1, batch // 4))]
    for dtype in (torch.float64, torch.float32):
        try:
            return _differs(replace(few, build=_As(recipe.build, dtype)), _as(data, chosen, dtype), kept, dtype)
        except RuntimeError as error:  # such as a recurrent layer, or control flow that depends on values
            reason = f"the module cannot be stacked ({first_line(error)})"
    return reason


def _differs(recipe: Recipe, data: Data, kept: list[np.ndarray], dtype: torch.dtype) -> str | None:
    together = stacked.train_stack(recipe, data, kept, [0, 1], Silent())
    for seed, (rows, member) in enumerate(zip(kept, together, strict=True)):
        start, alone = recipe.module(seed), _alone(recipe, data.select(rows), seed)
        for name, begun in start.named_parameters():
            one, other, was = (own.detach() for own in (alone.get_parameter(name), member.get_parameter(name), begun))
            moved = max(float((one - was).abs().max()), float((other - was).abs().max()))
            if moved and _distance(one, other, was) > ALIKE[dtype]:
                return f"trained side by side, {name} comes out otherwise than trained alone"
    return None


def _alone(recipe: Recipe, data: Data, seed: int) -> nn.Module:
    module = recipe.module(seed)
    optimizer = recipe.optimizer(training.trainable(module))
    steps = training.order(len(data), recipe.epochs, recipe.batch_size, seed)
    for _ in training.run_steps(recipe, module, optimizer, data, steps, seed):
        pass
    return module


def _distance(one: Tensor, other: Tensor, was: Tensor) -> float:
    """How far two outcomes lie apart, as a part of the way from where both began."""
    if one.dtype == torch.float64:
        return float((one - other).abs().max() / torch.maximum((one - was).abs().max(), (other - was).abs().max()))
    # In single precision an element whose gradient is nothing but rounding may go either way under Adam.
    return float((one - other).norm() / torch.maximum((one - was).norm(), (other - was).norm()))


class _As:
    """A recipe's build, in another precision."""

    def __init__(self, build: object, dtype: torch.dtype) -> None:
        self.build, self.dtype = build, dtype

    def __call__(self) -> nn.Module:
        module: nn.Module = self.build()  # type: ignore[operator]
        return module.to(self.dtype)


def _as(data: Data, chosen: np.ndarray, dtype: torch.dtype) -> Data:
    x, y = data.gather(chosen)

    def cast(values: Tensor) -> Tensor:
        return values.to(dtype) if values.is_floating_point() else values

    return Data(ArrayRows(batches.mapped(x, cast), cast(y)))
