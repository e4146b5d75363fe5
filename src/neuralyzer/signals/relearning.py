"""A few gradient steps of a model on a few rows: one batch at a time, or many copies of the model side by side."""

from collections.abc import Sequence

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

STEPS = 4
MOST = 32  # copies side by side
LARGEST = 4_000_000  # parameters of all copies together; larger ones gain nothing and fill the memory

Parameters = dict[str, Tensor]


def relearn(model: nn.Module, batch: Batch, context: Context, rate: float) -> nn.Module:
    """The model after ``STEPS`` gradient steps on ``batch``, BatchNorm in evaluation mode."""
    model.eval()
    parameters = {name: value.clone().requires_grad_() for name, value in _trained(model).items()}
    for _ in range(STEPS):
        given = context.objective.outputs(called(model, parameters), batch.x)
        loss = context.objective.losses(given, batch.y).mean()
        slopes = gradients(loss, list(parameters.values()))
        parameters = {
            name: (value - rate * gradient).detach().requires_grad_()
            for (name, value), gradient in zip(parameters.items(), slopes, strict=True)
        }
    return called(model, {name: value.detach() for name, value in parameters.items()})


def margins_after(
    model: nn.Module, pairs: Sequence[tuple[Batch, Batch]], holdout: Batch, context: Context, rate: float
) -> list[tuple[Tensor, Tensor]]:
    """Margins after relearning, for many batches of rows.

    Args:
        model: not changed.
        pairs: what is relearned, and which ``n`` rows are read afterwards.
        holdout: ``H`` rows that are read as well.
        context: gives the objective.
        rate: of the steps.

    Returns:
        For each pair the margins of its rows ``(n,)`` and of the holdout ``(H,)``.

    Raises:
        NotFiniteError: if the steps diverge.
    """
    size = sum(value.numel() for value in _trained(model).values())
    copies = min(MOST, LARGEST // max(size, 1), len(pairs))
    if copies > 1 and not convolves(model):  # convolutions with weights of their own are slower side by side
        try:
            return _side_by_side(model, pairs, holdout, context, rate, copies)
        except RuntimeError:  # recurrent layers, or control flow that depends on values
            pass
    found = []
    for learned, read in pairs:
        again = relearn(model, learned, context, rate)
        found.append((margins(again, read, context), margins(again, holdout, context)))
    return found


def _side_by_side(
    model: nn.Module,
    pairs: Sequence[tuple[Batch, Batch]],
    holdout: Batch,
    context: Context,
    rate: float,
    copies: int,
) -> list[tuple[Tensor, Tensor]]:
    model.eval()
    start, objective = _trained(model), context.objective

    def outputs(parameters: Parameters, x: Inputs) -> Tensor:
        return objective.outputs(called(model, parameters), x)

    def steps(x: Inputs, y: Tensor, weight: Tensor) -> Parameters:
        # No copy's loss depends on another's weights: the gradient of their sum is each copy's own. torch.func.grad
        # would give the same, and import a compiler first, which takes longer than all of the steps.
        parameters = {name: value.expand(len(y), *value.shape) for name, value in start.items()}
        for _ in range(STEPS):
            parameters = {name: value.detach().requires_grad_() for name, value in parameters.items()}
            with torch.enable_grad():
                given = vmap(outputs)(parameters, x)
                losses = objective.losses(given.flatten(0, 1), y.flatten(0, 1))
                slopes = gradients((losses * weight.flatten()).sum(), list(parameters.values()))
            parameters = {
                name: value - rate * gradient
                for (name, value), gradient in zip(parameters.items(), slopes, strict=True)
            }
        return {name: value.detach() for name, value in parameters.items()}

    found: list[tuple[Tensor, Tensor]] = [(torch.empty(0), torch.empty(0))] * len(pairs)
    order = sorted(range(len(pairs)), key=lambda place: len(pairs[place][0]))  # alike in size, so little is padded
    for first in range(0, len(order), copies):
        chunk = order[first : first + copies]
        with torch.no_grad():
            again = steps(*_padded([pairs[place][0] for place in chunk]))
            x, y, _ = _padded([pairs[place][1] for place in chunk])
            inside, outside = vmap(outputs)(again, x), vmap(outputs, in_dims=(0, None))(again, holdout.x)
        if not (torch.isfinite(inside).all() and torch.isfinite(outside).all()):
            raise NotFiniteError("the model gives NaN or infinite outputs after relearning; it cannot be judged")
        for place, own, target, beyond in zip(chunk, inside, y, outside, strict=True):
            rows = len(pairs[place][1])
            found[place] = (objective.margin(own, target)[:rows], objective.margin(beyond, holdout.y))
    return found


def _padded(parts: Sequence[Batch]) -> tuple[Inputs, Tensor, Tensor]:
    """Batches as one ``(K, n, ...)`` with each row's weight in its batch's mean; padding is the first row, weight 0."""
    widest = max(len(batch) for batch in parts)
    places = torch.arange(widest)
    chosen = [batch.take(torch.where(places < len(batch), places, 0)) for batch in parts]
    whole = join(chosen)
    return (
        batches.mapped(whole.x, lambda own: own.reshape(len(parts), widest, *own.shape[1:])),
        torch.stack([batch.y for batch in chosen]),
        torch.stack([(places < len(batch)) / len(batch) for batch in parts]),
    )


def _trained(model: nn.Module) -> Parameters:
    return {name: value.detach() for name, value in model.named_parameters() if value.requires_grad}
