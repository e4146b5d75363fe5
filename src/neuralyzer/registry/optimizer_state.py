"""The state of an optimizer as safetensors: tensors by name, the rest as JSON in the file's header, no pickle."""

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from neuralyzer.errors import UnreadableError, UsageError
from neuralyzer.workspace import atomic

HEADER = "optimizer"


def save(optimizer: torch.optim.Optimizer, path: Path) -> Path:
    """Write an optimizer's state atomically.

    Returns:
        ``path``.

    Raises:
        UsageError: if the state has a value that is neither a tensor nor expressible in JSON.
    """
    tensors: dict[str, torch.Tensor] = {}
    shape = json.dumps(_packed(optimizer.state_dict(), "", tensors))
    return atomic.write_bytes(path, safetensors.torch.save(tensors, {HEADER: shape}))


def load_into(optimizer: torch.optim.Optimizer, path: Path) -> None:
    """Give an optimizer the state that ``save`` wrote, bit by bit.

    Raises:
        UnreadableError: if the file is missing, truncated or of another kind.
        UsageError: if the state is of other parameters.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            shape = json.loads((file.metadata() or {})[HEADER])
            state = _unpacked(shape, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except FileNotFoundError:
        raise UnreadableError(f"{path} does not exist") from None
    except (safetensors.SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise UnreadableError(f"{path} is not a whole optimizer state ({error}); it may be truncated") from error
    try:
        optimizer.load_state_dict(state)
    except ValueError as error:
        raise UsageError(f"{path} is the state of another optimizer: {error}") from error


def _packed(value: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    """Return ``value`` as JSON; add its tensors to ``tensors`` under their path in it."""
    if isinstance(value, torch.Tensor):
        tensors[name] = value.detach().contiguous().clone()
        return {"tensor": name}
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_packed(entry, f"{name}.{at}", tensors) for at, entry in enumerate(value)]}
    if isinstance(value, dict) and all(type(key) in (int, str) for key in value):
        # Pairs, since JSON would turn the parameters' numbers into text as keys of an object.
        return {"dict": [[key, _packed(entry, f"{name}.{key}", tensors)] for key, entry in value.items()]}
    raise UsageError(
        f"the optimizer's state holds a {type(value).__name__} at {name.strip('.')}, which cannot be written without "
        "pickle; record without the optimizer"
    )


def _unpacked(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _unpacked(entry, tensors) for key, entry in content}
    entries = [_unpacked(entry, tensors) for entry in content]
    return entries if kind == "list" else tuple(entries)
