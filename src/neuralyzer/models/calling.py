"""What a model is given and what it gives back: rows in its own numbers, and one tensor of outputs."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from neuralyzer.data import batches
from neuralyzer.data.batches import Inputs
from neuralyzer.errors import UsageError

HALF = (torch.float16, torch.bfloat16)


def call(model: nn.Module, x: Inputs) -> Tensor:
    """A model's outputs on rows.

    Args:
        model: may give a tensor, or a mapping, a named tuple or another object with ``logits`` in it, such as the
            ``ModelOutput`` of transformers.
        x: rows ``(N, ...)``, or tensors by the names of the model's arguments; floating-point numbers are cast to the
            model's.

    Returns:
        Outputs ``(N, ...)``, in single precision where the model computes in half.

    Raises:
        UsageError: if no outputs are found in what it gives.
    """
    own = next((p.dtype for p in model.parameters() if p.is_floating_point()), None)
    if own is not None:
        dtype = own
        x = batches.mapped(x, lambda values: values.to(dtype) if values.is_floating_point() else values)
    found = _tensor(model(x) if isinstance(x, Tensor) else model(**x))
    return found.float() if own in HALF else found


def by_row(outputs: Tensor, x: Inputs) -> Tensor:
    """Outputs ``(N, C)`` of a model that gives one number a row, or that squeezes the axis of rows away for one row.

    Args:
        outputs: what it gives on ``x``.
        x: rows ``(N, ...)``.

    Returns:
        Outputs with an axis of rows and one of numbers; as they are where they have two axes or more.
    """
    rows = batches.count(x)
    if outputs.ndim < 2 and (rows == 1 or outputs.shape == (rows,)):
        return outputs.reshape(rows, -1)
    return outputs


def _tensor(found: Any) -> Tensor:
    if isinstance(found, Tensor):
        return found
    if isinstance(found, Mapping):
        inside = found.get("logits")
    else:
        inside = getattr(found, "logits", None)
        if inside is None and isinstance(found, (tuple, list)) and len(found) == 1:
            inside = found[0]
    if isinstance(inside, Tensor):
        return inside
    what = f" of {', '.join(map(str, found))}" if isinstance(found, Mapping) else ""
    raise UsageError(
        f"the model gives a {type(found).__name__}{what}; its outputs must be a tensor, or stand under 'logits' in it"
    )
