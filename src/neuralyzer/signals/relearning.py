"""The relearning steps: a few gradient steps of a model on a few rows, for one batch or for a stack of copies."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import vmap

from neuralyzer.data import batches
from neuralyzer.data.batches import Inputs
from neuralyzer.errors import NotFiniteError
from neuralyzer.models.placement import convolves
from neuralyzer.models.reading import called, gradients
from neuralyzer.signals.margin import margins
from neuralyzer.signals.signal import Batch, Context, join

STEPS = 4  # gradient steps (decision 6)
MOST = 32  # copies of the model in a stack
LARGEST = 4_000_000  # parameters of all copies together; larger stacks are no faster and fill the memory

RATES = tuple(10 ** (k / 4) for k in range(-16, 5))  # learning rates that are tried, 1e-4 to 10 (decision 6)

Parameters = dict[str, Tensor]


def smallest_rate(reached: Callable[[float], float], target: float) -> float:
    """Return the smallest learning rate with which relearning reaches a target.

    Args:
        reached: the mean margin that a rate leads to; raises ``NotFiniteError`` where the steps diverge.
        target: mean margin.

    Returns:
        The rate; the one that comes nearest where none reaches it.
    """
    nearest, highest = RATES[0], -math.inf
    for rate in RATES:
        try:
            now = reached(rate)
        except NotFiniteError:
            break  # the steps diverge, and would with all larger rates
        if now >= target:
            return rate
        if now > highest:
            nearest, highest = rate, now
    return nearest


def relearn(model: nn.Module, batch: Batch, context: Context, rate: float, steps: int = STEPS) -> nn.Module:
    """Return the model after some gradient steps on ``batch``, BatchNorm in evaluation mode."""
    model.eval()
    parameters = {name: value.clone().requires_grad_() for name, value in _trained(model).items()}
    for _ in range(steps):
        outputs = context.objective.outputs(called(model, parameters), batch.x)
        loss = context.objective.losses(outputs, batch.y).mean()
        slopes = gradients(loss, list(parameters.values()))
        parameters = {
            name: (value - rate * gradient).detach().requires_grad_()
            for (name, value), gradient in zip(parameters.items(), slopes, strict=True)
        }
    return called(model, {name: value.detach() for name, value in parameters.items()})


def margins_after(
    model: nn.Module, pairs: Sequence[tuple[Batch, Batch]], holdout: Batch, context: Context, rate: float
) -> list[tuple[Tensor, Tensor]]:
    """Return margins after relearning, for many batches of rows.

    Args:
        model: not changed.
        pairs: rows to train on, and ``n`` rows to read afterwards.
        holdout: ``H`` rows that are read as well.
        context: has the objective.
        rate: learning rate.

    Returns:
        For each pair the margins of its rows ``(n,)`` and of the holdout ``(H,)``.

    Raises:
        NotFiniteError: if the steps diverge.
    """
    size = sum(value.numel() for value in _trained(model).values())
    copies = min(MOST, LARGEST // max(size, 1), len(pairs))
    if copies > 1 and not convolves(model):  # stacked convolutions are slower than one at a time
        try:
            return _stacked(model, pairs, holdout, context, rate, copies)
        except RuntimeError:  # recurrent layers, or control flow that depends on values
            pass
    after = []
    for learned, read in pairs:
        relearned = relearn(model, learned, context, rate)
        after.append((margins(relearned, read, context), margins(relearned, holdout, context)))
    return after


def _stacked(
    model: nn.Module,
    pairs: Sequence[tuple[Batch, Batch]],
    holdout: Batch,
    context: Context,
    rate: float,
    copies: int,
) -> list[tuple[Tensor, Tensor]]:
    """Return what ``margins_after`` does, with ``copies`` of the model trained in one stack."""
    model.eval()
    start, objective = _trained(model), context.objective

    def outputs(parameters: Parameters, x: Inputs) -> Tensor:
        return objective.outputs(called(model, parameters), x)

    def steps(x: Inputs, y: Tensor, weight: Tensor) -> Parameters:
        # No copy's loss depends on another's weights, so the gradient of their sum is each copy's own gradient.
        # torch.func.grad gives the same, but imports a compiler first, which takes longer than all of the steps.
        parameters = {name: value.expand(len(y), *value.shape) for name, value in start.items()}
        for _ in range(STEPS):
            parameters = {name: value.detach().requires_grad_() for name, value in parameters.items()}
            with torch.enable_grad():
                stacked = vmap(outputs)(parameters, x)
                losses = objective.losses(stacked.flatten(0, 1), y.flatten(0, 1))
                slopes = gradients((losses * weight.flatten()).sum(), list(parameters.values()))
            parameters = {
                name: value - rate * gradient
                for (name, value), gradient in zip(parameters.items(), slopes, strict=True)
            }
        return {name: value.detach() for name, value in parameters.items()}

    after: list[tuple[Tensor, Tensor]] = [(torch.empty(0), torch.empty(0))] * len(pairs)
    order = sorted(range(len(pairs)), key=lambda place: len(pairs[place][0]))  # similar sizes together: less padding
    for first in range(0, len(order), copies):
        chunk = order[first : first + copies]
        with torch.no_grad():
            relearned = steps(*_padded([pairs[place][0] for place in chunk]))
            x, y, _ = _padded([pairs[place][1] for place in chunk])
            on_rows, on_holdout = vmap(outputs)(relearned, x), vmap(outputs, in_dims=(0, None))(relearned, holdout.x)
        if not (torch.isfinite(on_rows).all() and torch.isfinite(on_holdout).all()):
            raise NotFiniteError("the model gives NaN or infinite outputs after relearning; it cannot be judged")
        for place, row_outputs, target, holdout_outputs in zip(chunk, on_rows, y, on_holdout, strict=True):
            rows = len(pairs[place][1])
            after[place] = (
                objective.margin(row_outputs, target)[:rows],
                objective.margin(holdout_outputs, holdout.y),
            )
    return after


def _padded(parts: Sequence[Batch]) -> tuple[Inputs, Tensor, Tensor]:
    """Join batches to one ``(K, n, ...)``, with each row's weight in its batch's mean; padding has weight 0."""
    widest = max(len(batch) for batch in parts)
    places = torch.arange(widest)
    chosen = [batch.take(torch.where(places < len(batch), places, 0)) for batch in parts]
    joined = join(chosen)
    return (
        batches.mapped(joined.x, lambda part: part.reshape(len(parts), widest, *part.shape[1:])),
        torch.stack([batch.y for batch in chosen]),
        torch.stack([(places < len(batch)) / len(batch) for batch in parts]),
    )


def _trained(model: nn.Module) -> Parameters:
    return {name: value.detach() for name, value in model.named_parameters() if value.requires_grad}
