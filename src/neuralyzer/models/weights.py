"""Weights on the disk: safetensors, checked before they are used."""

import copy
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import nn

from neuralyzer.errors import StorageError, WeightsError
from neuralyzer.workspace import atomic, digests


def save(module: nn.Module, path: Path) -> Path:
    """Write a module's parameters and buffers to ``path`` atomically; tied tensors are written once a name.

    Returns:
        ``path``.

    Raises:
        StorageError: if the disk is full or the folder cannot be written.
    """
    state = {name: tensor.detach().contiguous().clone() for name, tensor in module.state_dict().items()}
    try:
        return atomic.write_with(path, lambda part: safetensors.torch.save_file(state, part))
    except safetensors.SafetensorError as error:
        raise StorageError(f"cannot write {path}: {error}; free space or choose another folder") from error


def digest(module: nn.Module) -> str:
    """SHA-256 of the safetensors bytes of a module's weights: equal to the digest of the file that ``save`` writes."""
    state = {name: tensor.detach().contiguous().clone() for name, tensor in module.state_dict().items()}
    return digests.of_bytes(safetensors.torch.save(state))


def load_into(module: nn.Module, path: Path, name: str | None = None) -> nn.Module:
    """Load a safetensors file into ``module``.

    Args:
        module: of the file's architecture.
        path: of the file.
        name: what an error calls it; its path by default.

    Returns:
        ``module``.

    Raises:
        WeightsError: if it is missing, truncated, a pickle, does not fit the module or holds NaN.
    """
    if path.suffix in {".pt", ".pth", ".pkl", ".bin", ".ckpt"}:
        raise WeightsError(f"{path} is a pickle, which can run code; convert it to safetensors")
    try:
        state = safetensors.torch.load_file(path)
    except FileNotFoundError:
        raise WeightsError(f"{path} does not exist") from None
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(f"{name or path} is not a whole safetensors file ({error}); it may be truncated") from error
    return fill(module, state, name or str(path))


def fill(module: nn.Module, state: dict[str, torch.Tensor], name: str) -> nn.Module:
    """Put ``state`` into ``module``.

    Returns:
        ``module``.

    Raises:
        WeightsError: if names or shapes differ, or a value is not finite.
    """
    wanted = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    given = {key: tuple(value.shape) for key, value in state.items()}
    if wanted != given:
        odd = min(key for key in wanted.keys() | given.keys() if wanted.get(key) != given.get(key))
        raise WeightsError(
            f"{name} does not fit the recipe: {odd} is {given.get(odd, 'missing')}, the recipe has "
            f"{wanted.get(odd, 'no such tensor')}"
        )
    require_finite(state, name)
    module.load_state_dict(state)
    return module


def require_finite(state: dict[str, torch.Tensor], name: str) -> None:
    """Check that no weight is NaN or infinite.

    Raises:
        WeightsError: if one is.
    """
    for key, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise WeightsError(f"{name} holds NaN or infinite values in {key}; the model cannot be judged")


def clone(module: nn.Module) -> nn.Module:
    """A copy that shares nothing with ``module``."""
    return copy.deepcopy(module)
