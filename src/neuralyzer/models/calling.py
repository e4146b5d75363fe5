"""Calling a model: rows cast to its floating-point type, and one tensor of outputs whatever it returns."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from neuralyzer.data import batches
from neuralyzer.data.batches import Inputs
from neuralyzer.errors import UsageError

HALF = (torch.float16, torch.bfloat16)  # types whose outputs are cast to float32


def call(model: nn.Module, x: Inputs) -> Tensor:
    """Return a model's outputs on rows.

    Args:
        model: may return a tensor, or a mapping, a named tuple or another object with ``logits`` in it, such as the
            ``ModelOutput`` of transformers.
        x: rows ``(N, ...)``, or tensors by the names of the model's arguments; floating-point numbers are cast to the
            type of the model's parameters.

    Returns:
        Outputs ``(N, ...)``, in single precision where the model computes in half.

    Raises:
        UsageError: if the model returns no tensor and nothing with ``logits``.
    """
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), None)
    if dtype is not None:
        cast = dtype
        x = batches.mapped(x, lambda values: values.to(cast) if values.is_floating_point() else values)
    outputs = _tensor(model(x) if isinstance(x, Tensor) else model(**x))
    return outputs.float() if dtype in HALF else outputs


def by_row(outputs: Tensor, x: Inputs) -> Tensor:
    """Return outputs as ``(N, C)``, for a model that returns one number a row or squeezes the row axis of a single row.

    Args:
        outputs: of the model on ``x``.
        x: rows ``(N, ...)``.

    Returns:
        Outputs with a row axis and a second one; unchanged where they have two axes or more.
    """
    rows = batches.count(x)
    if outputs.ndim < 2 and (rows == 1 or outputs.shape == (rows,)):
        return outputs.reshape(rows, -1)
    return outputs


def _tensor(returned: Any) -> Tensor:
    """Return the tensor of outputs in what a model returned."""
    if isinstance(returned, Tensor):
        return returned
    if isinstance(returned, Mapping):
        logits = returned.get("logits")
    else:
        logits = getattr(returned, "logits", None)
        if logits is None and isinstance(returned, (tuple, list)) and len(returned) == 1:
            logits = returned[0]
    if isinstance(logits, Tensor):
        return logits
    what = f" of {', '.join(map(str, returned))}" if isinstance(returned, Mapping) else ""
    raise UsageError(
        f"the model gives a {type(returned).__name__}{what}; "
        "its outputs must be a tensor, or stand under 'logits' in it"
    )
